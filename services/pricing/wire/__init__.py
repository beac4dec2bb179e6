"""Messages into the domain's values and back, and how a locale writes an amount. Knows no SQL."""
