"""All that is Stripe: owns customers, sellers' accounts, intents, refunds, the inbox of webhooks. Knows no booking.

Read in this order: `domain` (what is true of a payment, given what was seen), `store` (the mirror, the call log, the
lease), `provider` (Stripe itself), `calls` (write down, call, record), `intents` and `refunds` (what is called),
`observer` (what is seen without a call), `servicer` (the gRPC face); webhooks come in through `webhooks` and `inbox`.
"""
