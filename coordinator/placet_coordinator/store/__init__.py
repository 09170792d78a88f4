"""The store port on SQL: SQLite, PostgreSQL, MariaDB and MySQL."""

from placet_coordinator.store.factory import DriverMissing, store_for

__all__ = ["DriverMissing", "store_for"]
