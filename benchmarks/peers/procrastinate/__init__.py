"""procrastinate on PostgreSQL."""
