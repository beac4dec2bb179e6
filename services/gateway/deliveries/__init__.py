"""Tells the orchestrator what was observed while no caller was there to be told. Knows nothing of Stripe."""
