"""Stored predictions, and submissions in the layout of XTREME."""
