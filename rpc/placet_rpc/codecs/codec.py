"""What a codec is: a name for HELLO, a number for frames, and typed encoding and decoding."""

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

SPI_VERSION = 1


class Arguments(msgspec.Struct):
    """What the parameters of every method travel as is of a class derived from this one: a member per parameter."""


class Codec(Protocol):
    """Encodes arguments and results. Must never run code that the bytes name (so never pickle).

    Attributes:
        name: as it stands in HELLO.
        number: as it stands in frames; 1 to 15 are Placet's own, 16 to 255 free.
        content_type: as it stands in HTTP fields.
        spi_version: `SPI_VERSION` that it was written for.
    """

    name: str
    number: int
    content_type: str
    spi_version: int

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:
        """Returns a function that encodes values of a type; it raises `TypeError` or `ValueError` for others."""
        ...

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a function that decodes a value of a type; it raises `ValueError` for anything else."""
        ...
