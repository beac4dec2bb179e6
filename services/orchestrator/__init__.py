"""The command side: owns the plan of each payment and drives it to an end. Knows no Stripe type and keeps no truth.

Read in this order: `domain` (what follows from what was seen), `store` (the plan, the requests, the outbox), `driver`
(how a held payment moves), `commands` (start, submit, refund, cancel), `servicer` (the gRPC face), `sweep` (recovery).
"""
