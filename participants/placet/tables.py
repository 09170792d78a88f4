"""The barrier's table in a participant's own database; take `metadata` into your migrations."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, MetaData, String, Table, Text
from sqlalchemy.dialects.mysql import LONGTEXT, VARCHAR

from placet_contract.limits import BRANCH_ID_LENGTH_MAX, GID_LENGTH_MAX

metadata = MetaData()

_WORD_LENGTH = 12


def _ascii(length: int) -> Any:
    # Ids are bytes: by MariaDB's and MySQL's default collations branch "A" would be taken for a repeat of branch "a".
    return String(length).with_variant(VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


barrier = Table(
    "placet_barrier",
    metadata,
    Column("gid", _ascii(GID_LENGTH_MAX), primary_key=True),
    Column("branch_id", _ascii(BRANCH_ID_LENGTH_MAX), primary_key=True),
    Column(
        "answer", _ascii(_WORD_LENGTH), nullable=False, comment="what a try or action is told: done, rejected, late"
    ),
    Column(
        "ended_by", _ascii(_WORD_LENGTH), comment="the operation of phase two that came: confirm, cancel, compensate"
    ),
    Column(
        "result",
        # TEXT of MariaDB and MySQL ends at 64 KiB.
        Text().with_variant(LONGTEXT(charset="utf8mb4"), "mysql", "mariadb"),
        comment="JSON: what the try or action returned, or why it rejected",
    ),
    Column("created_at_ms", BigInteger, nullable=False),
    CheckConstraint("answer IN ('done', 'rejected', 'late')", name="placet_barrier_answer"),
    Index("placet_barrier_created", "created_at_ms"),
    comment="Placet: makes each operation of a branch happen once and in order",
    mysql_engine="InnoDB",
    sqlite_with_rowid=False,
)
"""One row for each branch that this participant has heard of."""


def include_object(
    _object: object,
    name: str | None,
    type_: str,
    reflected: bool,  # noqa: FBT001 - Alembic calls it so
    compare_to: object,
) -> bool:
    """Keeps Alembic's autogenerate from dropping the barrier when it is no part of its `target_metadata`.

    Pass it to `context.configure(include_object=…)`, or call it from a filter of your own.
    """
    return not (type_ == "table" and reflected and compare_to is None and name in metadata.tables)
