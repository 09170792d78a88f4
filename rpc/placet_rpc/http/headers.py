"""Header fields as bytes: checked once, then written as they are."""

import re
from collections.abc import Iterable
from typing import NewType

HeaderBlock = NewType("HeaderBlock", bytes)
"""Whole header lines, each with its CRLF, checked by `header_block` or `HeaderTemplate`."""

NO_HEADERS = HeaderBlock(b"")

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_CONTROLS = bytes((*range(0x09), *range(0x0A, 0x20), 0x7F))  # RFC 9110 5.5 allows the tab alone
# The framing of a message and the life of its connection are the client's to say (RFC 9112 11.2, request smuggling).
_RESERVED = frozenset(
    b"connection content-length expect host keep-alive proxy-connection te trailer transfer-encoding upgrade".split()
)


def _name(name: str | bytes) -> bytes:
    raw = name.encode("ascii", "replace") if isinstance(name, str) else name
    if not _TOKEN.fullmatch(raw):
        raise ValueError(f"header name {raw!r} is not a token (RFC 9110 5.6.2): letters, digits and !#$%&'*+-.^_`|~")
    if raw.lower() in _RESERVED:
        raise ValueError(f"header {raw.decode()!r} is set by the client itself: leave it out")
    return raw


def header_block(fields: Iterable[tuple[str | bytes, str | bytes]]) -> HeaderBlock:
    """Encodes header fields.

    Args:
        fields: names and values; text is sent as Latin-1.

    Raises:
        ValueError: a name is no token or belongs to the client, or a value holds a control character or a character
            outside Latin-1. Values are not repeated in the message, for they may be secrets.
    """
    lines: list[bytes] = []
    for name, value in fields:
        raw = _name(name)
        try:
            encoded = value.encode("latin-1") if isinstance(value, str) else value
        except UnicodeEncodeError:
            raise ValueError(f"the value of header {raw.decode()!r} has characters outside Latin-1") from None
        if len(encoded.translate(None, _CONTROLS)) != len(encoded):
            raise ValueError(f"the value of header {raw.decode()!r} has a control character, such as CR or LF")
        lines.append(b"%b: %b\r\n" % (raw, encoded))
    return HeaderBlock(b"".join(lines))


class HeaderTemplate:
    """Header names that are the same for every call; only the values differ.

    One formatting and one scan per call: the template's own CRLFs are the only control characters that may be there,
    so counting them finds any that a value brought in.

    Args:
        names: the fields' names, in the order of the values given to `fill`.
    """

    __slots__ = ("_format", "_own_controls", "names")

    def __init__(self, *names: str) -> None:
        self.names = names
        escaped = [_name(name).decode().replace("%", "%%") for name in names]
        self._format = "".join(f"{name}: %s\r\n" for name in escaped)
        self._own_controls = 2 * len(names)

    def fill(self, *values: str | int) -> HeaderBlock:
        """Returns the block with one value per name.

        Raises:
            ValueError: a value holds a control character or a character outside Latin-1.
            TypeError: there are not as many values as names.
        """
        block = (self._format % values).encode("latin-1")
        if len(block) - len(block.translate(None, _CONTROLS)) != self._own_controls:
            raise ValueError(f"a value for one of the headers {', '.join(self.names)} has a control character")
        return HeaderBlock(block)
