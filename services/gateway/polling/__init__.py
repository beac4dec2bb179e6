"""Stripe's events where none is sent here: they are read, page by page, and go into the inbox as webhooks do."""
