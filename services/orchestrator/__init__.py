"""The command side: owns the plan of each payment and drives it to an end. Knows no Stripe type and keeps no truth.

Read in this order: `domain` (what follows from what was seen), `store` (the plan, the requests, the outbox), `driver`
(how a held payment moves), `request_runner` (each request carried out once), `actions` (start, submit, refund, cancel),
`servicers` (the gRPC face), `sweep` (recovery).
"""
