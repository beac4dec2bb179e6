"""What the platform's own systems are sent: who wants what, in which order, signed how, and what came of it.

The sending half knows no tables: `payload.py` makes the body of a fact, once; `signing.py` signs it; `guard.py` says
which addresses may be reached at all; `sending.py` makes one try, and returns what came of it.

The keeping half sends nothing itself: `sink.py` writes a delivery with each fact; `delivering.py` has what is due sent,
and `lanes.py` keeps what came of it, and when it is tried again; `subscriptions.py` has who is sent what, and `log.py`
what was sent, to be sent again; `upkeep.py` gives up and forgets.
"""
