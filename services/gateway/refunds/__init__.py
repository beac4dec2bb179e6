"""Giving money back. Never more than was taken; knows no event."""
