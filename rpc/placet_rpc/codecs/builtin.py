"""MessagePack and JSON by msgspec; pydantic models are taken by what they offer themselves, without importing it."""

from collections.abc import Callable
from typing import Any

import msgspec

from placet_rpc.codecs.codec import SPI_VERSION
from placet_rpc.frames.hello import CODEC_JSON, CODEC_MSGPACK


def is_model(kind: object) -> bool:
    """True for a pydantic model."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_dump")


def to_builtins(value: Any) -> Any:
    """Returns what a value that msgspec does not know is encoded as; raises `TypeError` if there is nothing."""
    if is_model(type(value)):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} can't be encoded: use a dataclass, Struct, TypedDict or builtin type")


def _from_builtins(kind: type, value: Any) -> Any:
    if is_model(kind):
        return kind.model_validate(value)  # type: ignore[attr-defined]  # is_model looked
    raise TypeError(f"{kind.__name__} can't be decoded: use a dataclass, Struct, TypedDict or builtin type")


class MsgpackCodec:
    """MessagePack: the default over TCP."""

    name = "msgpack"
    number = CODEC_MSGPACK
    content_type = "application/msgpack"
    spi_version = SPI_VERSION

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:  # noqa: ARG002 - the value knows its type
        """Returns an encoder."""
        return msgspec.msgpack.Encoder(enc_hook=to_builtins).encode

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a typed decoder."""
        return msgspec.msgpack.Decoder(kind, dec_hook=_from_builtins).decode


class JsonCodec:
    """JSON: over HTTP, and for whoever wants to read along."""

    name = "json"
    number = CODEC_JSON
    content_type = "application/json"
    spi_version = SPI_VERSION

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:  # noqa: ARG002 - the value knows its type
        """Returns an encoder."""
        return msgspec.json.Encoder(enc_hook=to_builtins).encode

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a typed decoder."""
        return msgspec.json.Decoder(kind, dec_hook=_from_builtins).decode
