"""The store port on SQL: SQLite, PostgreSQL, MariaDB and MySQL."""
