"""Status: the one truth about each payment. Owns snapshot, state, revision, history and the watches.

A revision is never changed once it is written, and a watch carries each of them exactly once and in order. It knows
neither Stripe nor prices, and not why a payment moves.
"""
