"""Owns the price book and the immutable quotes. Knows nothing of payments or Stripe.

Promises: integers in minor units at every stage, every rounding stated, the rows a payer sees sum to the total to the
unit, and a quote reads back for ever exactly as it was made. Read `domain/`, then `wire/`, `storage/`, `servicer.py`
and `__main__.py`.
"""
