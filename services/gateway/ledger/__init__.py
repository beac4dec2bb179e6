"""The double entry: what is booked of payments and of the platform's balance. It is only appended to."""
