"""Whether Stripe and we say the same of a span of time: runs, what they found, and what is safe to mend of that."""
