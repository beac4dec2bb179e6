"""The command side: owns the plan of each payment and drives it to an end. Knows no Stripe type and keeps no truth.

Read in this order: `domain` (what follows from an observation), `storage` (the plan, the requests, the outbox),
`unit_of_work` (a payment under its lease), `transition_outbox` (what status has to record), `steps` and `captures` (how
a held payment moves), `commands` (start, submit, capture, cancel, refund), `due_steps` (what a plan does by itself),
`request_runner` (each request carried out once), `servicers` (the RPCs), `sweep` (recovery).
"""
