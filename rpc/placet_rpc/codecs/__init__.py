"""Codecs by name: MessagePack and JSON, and those that installed packages offer (group `placet.rpc.codecs`).

`protobuf` is one of the latter, though the package is this one: what it can do, anybody's codec can.
"""

from collections.abc import Iterable

from placet_rpc.codecs.builtin import JsonCodec, MsgpackCodec
from placet_rpc.codecs.codec import SPI_VERSION, Arguments, Codec
from placet_rpc.extension import Lazy, find_extension

GROUP = "placet.rpc.codecs"
_BUILTIN = {"msgpack": MsgpackCodec, "json": JsonCodec}

MSGPACK: Codec = MsgpackCodec()
JSON: Codec = JsonCodec()

PROTOBUF = Lazy("placet_rpc.codecs.protobuf:ProtobufCodec", SPI_VERSION, extra="protobuf")
"""The factory that this package's entry point names; calling it raises `ImportError` without the extra."""


def find_codecs(names: Iterable[str]) -> tuple[Codec, ...]:
    """Returns the codecs of an allow-list, in its order.

    Raises:
        ValueError: a name is unknown, taken twice, or of another SPI version.
        ImportError: a codec needs a library that is not installed; the message names the extra.
    """
    return tuple(find_extension(GROUP, name, _BUILTIN, SPI_VERSION)() for name in names)


__all__ = [
    "GROUP",
    "JSON",
    "MSGPACK",
    "PROTOBUF",
    "SPI_VERSION",
    "Arguments",
    "Codec",
    "JsonCodec",
    "MsgpackCodec",
    "find_codecs",
]
