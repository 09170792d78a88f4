"""What a call with a key says of its place in the order; travels in `extra`."""

import re
from typing import NamedTuple, Self

MEMBER = "order"
_FORM = re.compile(r"([^:]{1,64}):([0-9]{1,16}):([0-9]{1,16})")


class Stamp(NamedTuple):
    """The place of a call among those of one client with one key.

    Attributes:
        client: one life of a client.
        number: counted from 1, one by one.
        first: the lowest number that may still run; what is below has ended, or its caller has given it up.
    """

    client: str
    number: int
    first: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Reads a stamp; None: it is none."""
        found = _FORM.fullmatch(text)
        if found is None:
            return None
        client, number, first = found[1], int(found[2]), int(found[3])
        return cls(client, number, first) if 0 < first <= number else None

    def __str__(self) -> str:
        return f"{self.client}:{self.number}:{self.first}"
