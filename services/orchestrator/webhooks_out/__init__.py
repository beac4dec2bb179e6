"""What the platform's own systems are sent: who wants what, in which order, signed how, and what came of it.

The sending half knows no tables: `payload.py` makes the body of a fact, once; `signing.py` signs it; `guard.py` says
which addresses may be reached at all; `sending.py` makes one try, and returns what came of it.
"""
