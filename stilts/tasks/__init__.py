"""The task catalogue (light) and one module for each task family."""
