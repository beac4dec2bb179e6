"""The platform's balance at Stripe: every balance transaction is read, kept, booked once. Knows no payment's state."""
