"""What a server must be like, so that it can keep the store's promises; asked once, when the store is opened."""

import re
from typing import Final

from placet_coordinator.ports.store import SchemaProblem

READ_FACTS: Final = "select version(), @@max_allowed_packet, @@global.innodb_flush_log_at_trx_commit"
OLDEST: Final = {"MariaDB": (10, 6, 0), "MySQL": (8, 0, 16)}
"""The first releases that have SKIP LOCKED, and enforce CHECK."""
PACKET_BYTES_MIN: Final = 4_194_304
"""What the server has to take at once: the largest row with every character escaped."""


def check_server(version: str, packet_bytes_max: int, flushes_at_commit: int) -> None:
    """Refuse a server that can't keep our promises; the arguments are the columns of `READ_FACTS`.

    Raises:
        SchemaProblem: the rule, and the remedy.
    """
    kind = "MariaDB" if "MariaDB" in version else "MySQL"
    if tuple(int(number) for number in re.findall(r"\d+", version)[:3]) < OLDEST[kind]:
        oldest = ".".join(map(str, OLDEST[kind]))
        raise SchemaProblem(
            f"{kind} {version} is too old: Placet needs {oldest} or a later release; upgrade the server"
        )
    if packet_bytes_max < PACKET_BYTES_MIN:
        raise SchemaProblem(
            f"max_allowed_packet is {packet_bytes_max} bytes, and the largest transaction needs {PACKET_BYTES_MIN}: "
            "raise it in the server's configuration"
        )
    if flushes_at_commit != 1:
        raise SchemaProblem(
            f"innodb_flush_log_at_trx_commit is {flushes_at_commit}, so a crash may lose what the server has "
            "acknowledged: set it to 1 in the server's configuration"
        )
