"""Heads of messages that were parsed before: a peer sends the same fields again and again.

The same bytes mean the same, so what a strict parser once made of them need not be found out again. Of HTTP only heads
of whole messages are kept that came alone, in one piece, and framed by their content-length; over TCP a frame says
where the head ends.
"""

from typing import TypeVar

_Meaning = TypeVar("_Meaning")


class KnownHeads(dict[bytes, _Meaning]):
    """A bounded memory, from a head's bytes to what they mean. A dict, so that a look is the interpreter's own.

    Args:
        limit: heads that are kept; all are forgotten when there is one more (fields with a date or an id in them).
        bytes_max: a longer head is not kept.
    """

    def __init__(self, limit: int, bytes_max: int) -> None:
        super().__init__()
        self.limit, self.bytes_max = limit, bytes_max

    def keep(self, head: bytes, meaning: _Meaning) -> None:
        """Keeps what a head means."""
        if len(head) > self.bytes_max:
            return
        if len(self) >= self.limit:
            self.clear()
        self[head] = meaning


def head_end(data: bytes, start: int = 0) -> int:
    """Returns where the body begins; below 4 if the head is not whole."""
    return data.find(b"\r\n\r\n", start) + 4
