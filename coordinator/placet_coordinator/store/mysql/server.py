"""What a server must be like, so that it can keep the store's promises; asked once, when the store is opened."""

import re
from collections.abc import Mapping
from typing import Final

from placet_coordinator.ports.store import SchemaProblem

OLDEST: Final = {"MariaDB": (10, 6, 0), "MySQL": (8, 0, 16)}
"""The first releases that have SKIP LOCKED, and enforce CHECK."""
PACKET_BYTES_MIN: Final = 16_777_216
"""What the server has to take at once: the largest plan (4 MiB) and results (2 MiB) with every character escaped, and
room for the rest of the row. It is MariaDB's default; MySQL's is 64 MiB."""
READ_FACTS: Final = (
    "show global variables where variable_name in ('version', 'max_allowed_packet', 'innodb_flush_log_at_trx_commit', "
    "'log_bin', 'sync_binlog', 'binlog_format')"
)
_REMEDY: Final = "set it so in the server's configuration"


def check_server(facts: Mapping[str, str]) -> None:
    """Refuse a server that can't keep our promises.

    Args:
        facts: the rows of `READ_FACTS`.

    Raises:
        SchemaProblem: the rule, and the remedy.
    """
    version = facts["version"]
    kind = "MariaDB" if "MariaDB" in version else "MySQL"
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise SchemaProblem(
            f"{kind} {version} is too old: Placet needs {oldest} or a later release; upgrade the server"
        )
    if int(facts["max_allowed_packet"]) < PACKET_BYTES_MIN:
        raise SchemaProblem(f"the largest transaction needs max_allowed_packet = {PACKET_BYTES_MIN} or more; {_REMEDY}")
    if facts["innodb_flush_log_at_trx_commit"] != "1":
        raise SchemaProblem(
            "without innodb_flush_log_at_trx_commit = 1 a crash loses what the server has acknowledged; " + _REMEDY
        )
    if facts.get("log_bin", "OFF") == "ON":
        _check_binary_log(facts)


def _check_binary_log(facts: Mapping[str, str]) -> None:
    if facts["sync_binlog"] != "1":
        raise SchemaProblem(
            "the server writes a binary log, and after a crash rolls back what the log has not got: "
            f"without sync_binlog = 1 that may be what it has acknowledged; {_REMEDY}"
        )
    if facts.get("binlog_format", "ROW") == "STATEMENT":
        raise SchemaProblem(
            f"binlog_format = STATEMENT refuses our isolation level, READ COMMITTED; use ROW or MIXED and {_REMEDY}"
        )
