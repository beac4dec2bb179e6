"""Whether mirror, ledger and settlement of a payment agree, with each other and with Stripe. Nothing is changed."""
