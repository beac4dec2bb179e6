"""Stripe over HTTP: client, its calls by resource, conclusions, limits, ids, currencies. Knows no payment."""
