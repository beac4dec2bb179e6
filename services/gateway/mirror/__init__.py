"""What was last known of a payment at Stripe, in memory and in tables, under its lease. Asks Stripe nothing."""
