"""Sellers' accounts at Stripe: one each, made here or taken over. Knows no payment."""
