"""What a call with a key says of its place in the order; travels in `extra`."""

from typing import NamedTuple, Self

MEMBER = "order"
CLIENT_LENGTH_MAX = 64
_NUMBER_MAX = 2**53


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
        client, _, numbers = text.partition(":")
        number, _, first = numbers.partition(":")
        if not 0 < len(client) <= CLIENT_LENGTH_MAX or not (number.isdecimal() and first.isdecimal()):
            return None
        if len(numbers) > 2 * len(str(_NUMBER_MAX)) or not 0 < int(first) <= int(number) <= _NUMBER_MAX:
            return None
        return cls(client, int(number), int(first))

    def __str__(self) -> str:
        return f"{self.client}:{self.number}:{self.first}"
