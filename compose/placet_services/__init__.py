"""The servers of Placet's tests on loopback: PostgreSQL, MariaDB, Apache Kafka, ZooKeeper and Redis.

Standard library only: it runs before any virtual environment exists.
"""
