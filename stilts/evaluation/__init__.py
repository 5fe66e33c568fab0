"""Prediction with a trained model, and scores. `predict` and `score` import torch, the other modules are light."""
