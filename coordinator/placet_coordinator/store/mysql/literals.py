"""SQL literals.

Packets hold their values as text, for a packet of several statements takes no parameters. Only backslash and the quote
need escaping (MySQL's C API reference, mysql_real_escape_string_quote); the driver escapes more, which was half of the
cost of a batch. Both are doubled, so that a value can't end its literal whether the session knows backslash escapes or
not; `session.py` sets that it does, lest texts come out with theirs doubled. Property tests send any text through a
server and back.
"""

from collections.abc import Iterable

from placet_coordinator.ports.store import BadData


def quoted(value: str) -> str:
    """Return a text as a literal."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def text(value: str | None) -> str:
    """Return a text as a literal, `null` for None."""
    return "null" if value is None else quoted(value)


def identifier(value: str) -> str:
    """Return an id as a literal of the id columns' type.

    Where an id is compared with another table's column, only this lets the primary key be used, and keeps the
    comparison by bytes.
    """
    return f"_ascii{quoted(value)} collate ascii_bin"


def integer(value: int | None) -> str:
    """Return an integer as a literal, `null` for None."""
    return "null" if value is None else str(int(value))


def texts(values: Iterable[str]) -> str:
    """Return texts as literals with commas between."""
    return ",".join([quoted(value) for value in values])


def literal(value: str | int | None) -> str:
    """Return a query's parameter as a literal."""
    if value is None or isinstance(value, str):
        return text(value)
    return integer(value)


def encoded(packet: str) -> bytes:
    """Return the packet as bytes.

    Raises:
        BadData: it holds a lone surrogate, which UTF-8 has no form for.
    """
    try:
        return packet.encode()
    except UnicodeEncodeError as error:
        raise BadData(f"a text holds a lone surrogate: {error.reason}") from None
