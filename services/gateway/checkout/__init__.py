"""Hosted checkout: attempts whose payer pays on a page of Stripe's. Owns what a page is made of, and what it says."""
