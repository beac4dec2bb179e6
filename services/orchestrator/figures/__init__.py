"""Figures of payments for people: kept by day as payments move, so that asking for them reads no payment.

`domain` says what a move adds to which figure. `sink` adds it in the transaction that hears the move: a move is heard
once, and what it adds is the difference to what was heard before. So figures are what payments are, whoever dies
or repeats. `store` reads them.
"""
