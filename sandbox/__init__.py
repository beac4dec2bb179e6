"""A small stateful stand-in for Stripe's test mode: a real HTTP server the official `stripe` client talks to.

It exists because tests and laptops have no network. What it does not model it refuses with 501; it never answers with a
canned success. It knows nothing of the suite: neither services nor the suite's stubs are imported here.
"""
