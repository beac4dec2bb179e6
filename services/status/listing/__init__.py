"""Walks over payments in pages, and their labels; off the path of a payment."""
