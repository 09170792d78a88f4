"""The first tables: transactions, their attempts, nodes, and the instances of services.

Written out, not taken from the coordinator's tables: a revision must make the same schema for ever. On MariaDB and
MySQL, which commit each statement, a repeat of a cut-off run makes what is missing.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.types import TypeEngine

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_INNODB = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
}


def upgrade() -> None:
    _create_global_transaction()
    _create_attempt()
    _create_node()
    _create_service_instance()


def _create_global_transaction() -> None:
    _create_table(
        "global_transaction",
        sa.Column("gid", _ascii(128), nullable=False),
        sa.Column("pattern", _ascii(32)),
        sa.Column("name", _text(128)),
        sa.Column("business_key", _text(256)),
        sa.Column("parent", _ascii(193)),
        sa.Column("status", _ascii(32), nullable=False),
        sa.Column("reason", _ascii(32)),
        sa.Column("reason_text", _text(1_000)),
        sa.Column("attention", _text(1_000)),
        sa.Column("heuristic", sa.Boolean, nullable=False),
        sa.Column("paused_at_ms", sa.BigInteger),
        sa.Column("driven", sa.Boolean, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("owner", _ascii(32), nullable=False),
        sa.Column("written_by", _ascii(64), nullable=False),
        sa.Column("format", sa.SmallInteger, nullable=False),
        sa.Column("next_due_at_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.Column("plan", _document(), nullable=False),
        sa.Column("progress", _document(), nullable=False),
        sa.PrimaryKeyConstraint("gid", name="pk_global_transaction"),
        sa.CheckConstraint(
            "(status IN ('active', 'committing', 'aborting')) = (next_due_at_ms IS NOT NULL)",
            name="ck_global_transaction_open_is_due",
        ),
        # Updates stay within their page (heap-only tuples) while it has room; the table is rewritten all the time.
        postgresql_with={
            "fillfactor": 80,
            "autovacuum_vacuum_scale_factor": 0.05,
            "autovacuum_analyze_scale_factor": 0.05,
        },
    )
    _create_partial_index("due", "next_due_at_ms", where="next_due_at_ms IS NOT NULL")
    _create_index("ix_global_transaction_created", "global_transaction", "created_at_ms", "gid")
    _create_partial_index("key", "business_key", "created_at_ms", where="business_key IS NOT NULL")
    _create_partial_index("parent", "parent", where="parent IS NOT NULL")
    _create_partial_index("name", "name", "created_at_ms", where="name IS NOT NULL")
    _create_partial_index("reason", "reason", "created_at_ms", where="reason IS NOT NULL")
    _create_partial_index(
        "attention",
        "attention",
        "created_at_ms",
        where="attention IS NOT NULL",
        mysql_length={"attention": 16},
        mariadb_length={"attention": 16},
    )


def _create_attempt() -> None:
    _create_table(
        "attempt",
        sa.Column("attempt_id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("gid", _ascii(128), nullable=False),
        sa.Column("branch_id", _ascii(64), nullable=False),
        sa.Column("operation", _ascii(32), nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("outcome", _ascii(32), nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("duration_ms", sa.BigInteger, nullable=False),
        sa.Column("detail", _text(1_000), nullable=False),
        sa.PrimaryKeyConstraint("attempt_id", name="pk_attempt"),
    )
    _create_index("ix_attempt_gid", "attempt", "gid", "attempt_id")


def _create_node() -> None:
    _create_table(
        "node",
        sa.Column("node_id", _ascii(128), nullable=False),
        sa.Column("boot_id", _ascii(32), nullable=False),
        sa.Column("base_url", _text(2_048), nullable=False),
        sa.Column("format", sa.SmallInteger, nullable=False),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("node_id", name="pk_node"),
        sa.UniqueConstraint("boot_id", name="uq_node_boot_id"),
    )


def _create_service_instance() -> None:
    _create_table(
        "service_instance",
        sa.Column("service", _ascii(64), nullable=False),
        sa.Column("instance_id", _ascii(64), nullable=False),
        sa.Column("base_url", _text(2_048), nullable=False),
        sa.Column("actions", _document(), nullable=False),
        sa.Column("sdk", _text(1_000)),
        sa.Column("lease_until_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("service", "instance_id", name="pk_service_instance"),
    )


def _create_table(name: str, *contents: sa.schema.SchemaItem, **options: Any) -> None:
    resumes = op.get_context().dialect.name == "mysql"
    op.create_table(name, *contents, if_not_exists=resumes, **_INNODB, **options)


def _create_partial_index(name: str, *columns: str, where: str, **options: Any) -> None:
    """Create an index over some rows of global_transaction; MariaDB and MySQL know indexes over all rows only."""
    condition = sa.text(where)
    _create_index(
        f"ix_global_transaction_{name}",
        "global_transaction",
        *columns,
        postgresql_where=condition,
        sqlite_where=condition,
        **options,
    )


def _create_index(name: str, table: str, *columns: str, **options: Any) -> None:
    if not context.is_offline_mode():
        present = {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}
        if name in present:
            return
    op.create_index(name, table, list(columns), **options)


def _ascii(length: int) -> TypeEngine[str]:
    """Return the type of an id, compared as bytes."""
    return (
        sa.String(length)
        .with_variant(postgresql.VARCHAR(length, collation="C"), "postgresql")
        .with_variant(mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
    )


def _text(length: int) -> TypeEngine[str]:
    """Return the type of people's words."""
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )


def _document() -> TypeEngine[str]:
    """Return the type of a JSON document."""
    return (
        sa.Text()
        .with_variant(postgresql.JSON(), "postgresql")
        .with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
    )
