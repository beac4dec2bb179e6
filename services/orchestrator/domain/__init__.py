"""The rules of the command side: pure, without protobuf, SQL, clocks or waiting. The money rules stand here alone.

`payment` (what is true of it) → `transitions` (what follows from a step or an observation), `policies` (limits and
times), `quote` and `refund` (who gives back how much), `plan` (what is kept of a payment and of a
request), `errors` (why it refuses). Which state may follow which is the status service's to say.
"""
