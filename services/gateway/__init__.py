"""All that is Stripe: owns customers, sellers' accounts, intents, refunds, the inbox of webhooks. Knows no booking.

A call goes through the rooms in this order, and crosses each once: `servicers` (with `wire`: a request becomes typed
parameters) → `call_log` (written down, under the subject's lease) → an operation of `intents` or `refunds` (what is
sent) → `stripe_api` → the operation again (what the answer says) → `mirror` (what is kept). What happens at Stripe
without a call of ours comes in through `webhooks` and `sync`; what no caller gets as an answer goes out by
`deliveries`.

Adding a resource of Stripe's, in six steps; `tests/gateway/test_new_resource.py` takes them for one that is none:

1. `stripe_api/calls/RESOURCE.py`, shown by `stripe_api/client.py`: a method for each endpoint, with the transport's
   `post` for what changes something and `get` or `all` for what is read; a prefix in `stripe_api/stripe_ids.py` for
   each kind of id that goes into a path.
2. `stripe_api/objects.py`: a function that reads Stripe's object into a value of ours, in ISO minor units.
3. `RESOURCE/domain.py`: the value and the rules, pure. A change of what is kept goes into `migrations/`.
4. `RESOURCE/operations.py`: for each call that changes something a frozen dataclass of parameters and an `Operation`:
   `prepare` forbids or returns what is sent, `send` sends it, `look_up` finds out what came of it when the key says no
   more, `record` keeps the answer. Its subject is the payment (`mirror.store.Store`), or one of its own with a
   `SubjectStore`: a table with a lease, saved together with the call.
5. `wiring.py`: the operation is registered with `Calls`, which makes, repeats and settles it from then on; the types
   of its events get their action in `webhooks/events.py`.
6. `servicers/RESOURCE.py` and `wire/`: a request becomes the parameters, `Calls.make` is called, the subject becomes
   the response; the RPC gets its line in `services/access.py`.
"""
