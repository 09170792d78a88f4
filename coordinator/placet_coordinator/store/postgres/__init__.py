"""The store on PostgreSQL, by asyncpg."""
