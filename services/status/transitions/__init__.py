"""Writes transitions. Knows nothing of who watches them."""
