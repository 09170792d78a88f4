"""The coordinator's tables, in SQLAlchemy Core; migrations make the same, and a test compares the two.

One index alone touches a column that the good path changes (`next_due_at_ms`, open rows only): on PostgreSQL an update
that changes no indexed column stays within its page (heap-only tuples, documentation section 65.7). No index names the
status. Old rows are purged by `created_at_ms`, which never changes.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

from placet_contract.limits import (
    BRANCH_ID_LENGTH_MAX,
    GID_LENGTH_MAX,
    KEY_LENGTH_MAX,
    NAME_LENGTH_MAX,
    PARENT_LENGTH_MAX,
    REASON_TEXT_LENGTH_MAX,
    TARGET_LENGTH_MAX,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

DETAIL_LENGTH_MAX = 1_000
BOOT_ID_LENGTH_MAX = 32
WRITTEN_BY_LENGTH_MAX = 64
NODE_ID_LENGTH_MAX = 128
_WORD_LENGTH_MAX = 32


def _ascii(length: int) -> TypeEngine[str]:
    """Return the type of an id: bytes, so that 'A' never finds 'a' (design, section 5)."""
    return (
        String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    )


def _text(length: int) -> TypeEngine[str]:
    """Return the type of people's words: compared as bytes, too, so that a search finds what was written."""
    return String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


def _document() -> TypeEngine[str]:
    r"""Return the type of a JSON document: `json`, not `jsonb`, which refuses \u0000; text elsewhere."""
    return (
        Text()
        .with_variant(postgresql.JSON(), "postgresql")
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )


def _partial(name: str, *columns: str, where: str, **options: Any) -> Index:
    """Return an index of some rows; MariaDB has none, and indexes all."""
    return Index(name, *columns, postgresql_where=text(where), sqlite_where=text(where), **options)


_INNODB: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}

global_transaction = Table(
    "global_transaction",
    metadata,
    Column("gid", _ascii(GID_LENGTH_MAX), primary_key=True),
    Column("pattern", _ascii(_WORD_LENGTH_MAX)),
    Column("name", _text(NAME_LENGTH_MAX)),
    Column("business_key", _text(KEY_LENGTH_MAX)),
    Column("parent", _ascii(PARENT_LENGTH_MAX)),
    Column("status", _ascii(_WORD_LENGTH_MAX), nullable=False),
    Column("reason", _ascii(_WORD_LENGTH_MAX)),
    Column("reason_text", _text(REASON_TEXT_LENGTH_MAX)),
    Column("attention", _text(DETAIL_LENGTH_MAX)),
    Column("heuristic", Boolean, nullable=False),
    Column("paused_at_ms", BigInteger),
    Column("driven", Boolean, nullable=False),
    Column("version", Integer, nullable=False),
    Column("owner", _ascii(BOOT_ID_LENGTH_MAX), nullable=False),
    Column("written_by", _ascii(WRITTEN_BY_LENGTH_MAX), nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("next_due_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
    Column("plan", _document(), nullable=False),
    Column("progress", _document(), nullable=False),
    CheckConstraint(
        "(status IN ('active', 'committing', 'aborting')) = (next_due_at_ms IS NOT NULL)", name="open_is_due"
    ),
    _partial("ix_global_transaction_due", "next_due_at_ms", where="next_due_at_ms IS NOT NULL"),
    Index("ix_global_transaction_created", "created_at_ms", "gid"),
    _partial("ix_global_transaction_key", "business_key", "created_at_ms", where="business_key IS NOT NULL"),
    _partial("ix_global_transaction_parent", "parent", where="parent IS NOT NULL"),
    _partial("ix_global_transaction_name", "name", "created_at_ms", where="name IS NOT NULL"),
    _partial("ix_global_transaction_reason", "reason", "created_at_ms", where="reason IS NOT NULL"),
    _partial(
        "ix_global_transaction_attention",
        "attention",
        "created_at_ms",
        where="attention IS NOT NULL",
        mysql_length={"attention": 16},
        mariadb_length={"attention": 16},
    ),
    postgresql_with={"fillfactor": 80, "autovacuum_vacuum_scale_factor": 0.05, "autovacuum_analyze_scale_factor": 0.05},
    **_INNODB,
)

attempt = Table(
    "attempt",
    metadata,
    Column("attempt_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("gid", _ascii(GID_LENGTH_MAX), nullable=False),
    Column("branch_id", _ascii(BRANCH_ID_LENGTH_MAX), nullable=False),
    Column("operation", _ascii(_WORD_LENGTH_MAX), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("outcome", _ascii(_WORD_LENGTH_MAX), nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("duration_ms", BigInteger, nullable=False),
    Column("detail", _text(DETAIL_LENGTH_MAX), nullable=False),
    Index("ix_attempt_gid", "gid", "attempt_id"),
    **_INNODB,
)

node = Table(
    "node",
    metadata,
    Column("node_id", _ascii(NODE_ID_LENGTH_MAX), primary_key=True),
    Column("boot_id", _ascii(BOOT_ID_LENGTH_MAX), nullable=False, unique=True),
    Column("base_url", _text(TARGET_LENGTH_MAX), nullable=False),
    Column("format", SmallInteger, nullable=False),
    Column("lease_until_ms", BigInteger, nullable=False),
    **_INNODB,
)

service_instance = Table(
    "service_instance",
    metadata,
    Column("service", _ascii(BRANCH_ID_LENGTH_MAX), primary_key=True),
    Column("instance_id", _ascii(BRANCH_ID_LENGTH_MAX), primary_key=True),
    Column("base_url", _text(TARGET_LENGTH_MAX), nullable=False),
    Column("actions", _document(), nullable=False),
    Column("sdk", _text(DETAIL_LENGTH_MAX)),
    Column("lease_until_ms", BigInteger, nullable=False),
    Column("tcp_url", _text(TARGET_LENGTH_MAX)),
    **_INNODB,
)
