"""Personal data at rest: encrypted under a key of each payer's own, which an erasure destroys."""
