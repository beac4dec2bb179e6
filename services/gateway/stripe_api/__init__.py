"""Stripe over HTTP: the client, what may be concluded from an answer, limits, ids, currencies. Knows no payment."""
