"""PostgreSQL: connections, migrations, statements in batches, leases, and how long requests are kept."""
