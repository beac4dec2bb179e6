"""Stripe's events from the port to what they make true: verified, stored raw, worked on as due work."""
