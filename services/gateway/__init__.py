"""All that is Stripe: owns customers, sellers' accounts, intents, refunds, the inbox of webhooks. Knows no booking.

Read in this order: `domain` (what is true of a payment, given what was seen), `mirror` (what was seen, kept under a
lease), `stripe_api` (Stripe itself), `call_log` (write down, call, record), `intents` and `refunds` (what is called),
`sync` (what is seen without a call), `servicers` and `wire` (the gRPC face); webhooks come in through `webhooks`, and
what no caller was told goes out through `deliveries`.
"""
