"""Payment intents, one an attempt: create, confirm, cancel. Knows no refund."""
