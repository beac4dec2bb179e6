"""`/api/payments`, as old clients know it: their paths, names, codes and envelope."""
