"""Payments of a system before this one, taken over with their whole history and its own times."""
