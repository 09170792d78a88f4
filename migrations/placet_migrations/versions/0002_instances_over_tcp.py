"""Instances of services may be reached over TCP, too: where, stands beside their base URL.

One nullable column, added without a default: no row is rewritten, and nodes of the release before go on (they name the
columns that they know).
"""

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.dialects import mysql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if not context.is_offline_mode():
        # MariaDB and MySQL commit each statement: a repeat of a cut-off run finds the column there.
        present = {column["name"] for column in sa.inspect(op.get_bind()).get_columns("service_instance")}
        if "tcp_url" in present:
            return
    kind = sa.String(2_048).with_variant(
        mysql.VARCHAR(2_048, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    op.add_column("service_instance", sa.Column("tcp_url", kind))
