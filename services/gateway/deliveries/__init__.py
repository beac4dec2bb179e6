"""Delivers to the orchestrator what was observed and no caller got as an answer. Knows nothing of Stripe."""
