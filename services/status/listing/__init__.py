"""Walks over payments in pages, and their labels. Nobody waits for it in a hurry."""
