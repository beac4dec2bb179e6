"""How payers and sellers are reached: kept encrypted with what Stripe has of them, and said at the moment of a mail."""
