"""The coordinator's schema: its history, and the few functions that bring a database up to it.

Synchronous, for Alembic is: a server calls these before its event loop runs, or in a thread. A new revision is made by
`alembic -c migrations/alembic.ini revision --rev-id 0002 -m "what it does"`, and filled by hand; the tests compare the
result with the coordinator's tables on every database.
"""

from placet_migrations.address import TLS_OPTIONS, mysql_tls, redacted, synchronous_url
from placet_migrations.history import VERSION_TABLE, UpgradeBusy, current, head, revisions, sql, upgrade

__all__ = [
    "TLS_OPTIONS",
    "VERSION_TABLE",
    "UpgradeBusy",
    "current",
    "head",
    "mysql_tls",
    "redacted",
    "revisions",
    "sql",
    "synchronous_url",
    "upgrade",
]
