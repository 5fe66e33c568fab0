"""Prediction with a trained model, and scores. `metrics` is light, `predict` and `score` import torch."""
