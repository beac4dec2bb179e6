"""Erasing a payer: what the gateway knows of the person is destroyed here and deleted at Stripe; the books stay."""
