"""Training: task mixing, batches, the DeepSpeed loop, saving. Imports torch."""
