"""Payers as Stripe's customers: one each, made with the first payment. Keeps the id, and how they are reached."""
