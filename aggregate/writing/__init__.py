"""How sheets and figures are written."""
