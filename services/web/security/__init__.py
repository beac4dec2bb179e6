"""What every request and every answer of a front goes through: `headers.py`, `csrf.py`, and `guard.py` around them."""
