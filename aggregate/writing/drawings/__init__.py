"""One kind of figure each."""
