"""A database's schema as the database itself describes it, so that two of them can be compared word by word."""

import re

import sqlalchemy as sa

_POSTGRES = {
    "columns": (
        "select c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, l.collname, "
        "pg_get_expr(d.adbin, d.adrelid), a.attidentity from pg_attribute a join pg_class c on c.oid = a.attrelid "
        "left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum "
        "left join pg_collation l on l.oid = a.attcollation "
        "where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 order by 1, 2"
    ),
    "constraints": (
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint "
        "where connamespace = 'public'::regnamespace order by 1, 2"
    ),
    "indexes": "select tablename, indexname, indexdef from pg_indexes where schemaname = 'public' order by 1, 2",
    "options": (
        "select relname, reloptions::text from pg_class where relnamespace = 'public'::regnamespace "
        "and relkind = 'r' order by 1"
    ),
}


def described(connection: sa.Connection) -> list[str]:
    """Return every table, column, constraint, index and option, a line each; only our version table is left out."""
    describe = {"postgresql": _postgres, "mysql": _mariadb, "sqlite": _sqlite}[connection.dialect.name]
    return [line for line in describe(connection) if "placet_schema_version" not in line]


def _postgres(connection: sa.Connection) -> list[str]:
    return [
        f"{kind}: {' | '.join(map(str, row))}"
        for kind, query in _POSTGRES.items()
        for row in connection.exec_driver_sql(query)
    ]


def _mariadb(connection: sa.Connection) -> list[str]:
    lines: list[str] = []
    for table in sorted(sa.inspect(connection).get_table_names()):
        (row,) = connection.exec_driver_sql(f"SHOW CREATE TABLE {table}")
        text = re.sub(r" AUTO_INCREMENT=\d+", "", row[1])
        first, *body, last = text.split("\n")
        # Columns in their order; keys and constraints in any.
        columns = [line for line in body if line.lstrip().startswith("`")]
        others = sorted(line.rstrip(",") for line in body if not line.lstrip().startswith("`"))
        lines += [f"{table}: {line.strip()}" for line in (first, *columns, *others, last)]
    return lines


def _sqlite(connection: sa.Connection) -> list[str]:
    query = "SELECT type, name, coalesce(sql, '') FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 1, 2"
    return [f"{kind}: {name}: {' '.join(text.split())}" for kind, name, text in connection.exec_driver_sql(query)]
