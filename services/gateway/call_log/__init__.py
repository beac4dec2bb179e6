"""Calls that change something at Stripe: written down, made once each, recorded, settled. Knows no kind of call."""
