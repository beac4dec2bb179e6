"""REST of the payer's front, in two forms over the same handlers: `/v1`, and `/api/payments` as old clients know it.

`operations.py` calls the services and knows neither form. `modern/` and `legacy/` read requests and write answers, each
in its own words; they share codes, and never a shape.
"""
