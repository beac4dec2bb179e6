"""Keeps the mirror true without a call of ours: readings at Stripe, and whether a snapshot says anything new."""
