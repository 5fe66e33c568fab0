"""The encoder, the thin heads, and encoders from scratch. Imports torch and transformers."""
