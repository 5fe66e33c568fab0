"""Reading, preparing and inventing data."""
