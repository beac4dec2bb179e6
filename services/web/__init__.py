"""What both fronts are made of: a hardened HTTP server, sessions, the word that calls carry, pages, texts and streams.

`services.bff` (payers and the platform's front end) and `services.console` (operators) are built from this room; they
never import each other. Nothing here decides anything about a payment: the services do, and are called through the
client package alone.
"""
