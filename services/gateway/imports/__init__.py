"""Payments, customers and sellers of a system before this one, taken over as they are, without a call to Stripe."""
