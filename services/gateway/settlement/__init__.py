"""What sellers are owed of payments and have got, and the transfers that make both the same. Knows no event."""
