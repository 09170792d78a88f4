"""Codecs by name: MessagePack and JSON, and those that installed packages offer (group `placet.rpc.codecs`)."""

from collections.abc import Iterable

from placet_rpc.codecs.builtin import JsonCodec, MsgpackCodec
from placet_rpc.codecs.codec import SPI_VERSION, Codec
from placet_rpc.extension import find_extension

GROUP = "placet.rpc.codecs"
_BUILTIN = {"msgpack": MsgpackCodec, "json": JsonCodec}

MSGPACK: Codec = MsgpackCodec()
JSON: Codec = JsonCodec()


def find_codecs(names: Iterable[str]) -> tuple[Codec, ...]:
    """Returns the codecs of an allow-list, in its order.

    Raises:
        ValueError: a name is unknown, taken twice, or of another SPI version.
    """
    return tuple(find_extension(GROUP, name, _BUILTIN, SPI_VERSION)() for name in names)


__all__ = ["GROUP", "JSON", "MSGPACK", "SPI_VERSION", "Codec", "JsonCodec", "MsgpackCodec", "find_codecs"]
