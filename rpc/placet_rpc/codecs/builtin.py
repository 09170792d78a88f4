"""MessagePack and JSON by msgspec; pydantic models and protobuf messages by what they offer themselves."""

from collections.abc import Callable
from typing import Any

import msgspec

from placet_rpc.codecs.codec import SPI_VERSION
from placet_rpc.codecs.message import is_message, message_from_bytes, message_from_json, message_to_json
from placet_rpc.frames.hello import CODEC_JSON, CODEC_MSGPACK


def is_model(kind: object) -> bool:
    """True for a pydantic model."""
    return isinstance(kind, type) and hasattr(kind, "model_validate") and hasattr(kind, "model_dump")


def travels(kind: object) -> bool:
    """True for a class that msgspec does not know and the codecs do."""
    return is_model(kind) or is_message(kind)


def to_builtins(value: Any) -> Any:
    """Returns what a value that msgspec does not know is in JSON; raises `TypeError` if there is nothing."""
    if is_model(type(value)):
        return value.model_dump(mode="json")
    if is_message(type(value)):
        return message_to_json(value)
    raise TypeError(f"{type(value).__name__} can't be encoded: use a dataclass, Struct, TypedDict or builtin type")


def from_builtins(kind: type, value: Any) -> Any:
    """Makes the value again; raises `TypeError` or `ValueError` if it can't."""
    if is_model(kind):
        return kind.model_validate(value)  # type: ignore[attr-defined]  # is_model looked
    if is_message(kind):
        return message_from_json(kind, value)
    raise TypeError(f"{kind.__name__} can't be decoded: use a dataclass, Struct, TypedDict or builtin type")


def _to_binary(value: Any) -> Any:
    return value.SerializeToString() if is_message(type(value)) else to_builtins(value)


def _from_binary(kind: type, value: Any) -> Any:
    if is_message(kind) and isinstance(value, bytes):
        return message_from_bytes(kind, value)
    return from_builtins(kind, value)


class MsgpackCodec:
    """MessagePack: the default over TCP. A protobuf message within is the bytes that it is everywhere."""

    name = "msgpack"
    number = CODEC_MSGPACK
    content_type = "application/msgpack"
    spi_version = SPI_VERSION

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:  # noqa: ARG002 - the value knows its type
        """Returns an encoder."""
        return msgspec.msgpack.Encoder(enc_hook=_to_binary).encode

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a typed decoder."""
        return msgspec.msgpack.Decoder(kind, dec_hook=_from_binary).decode


class JsonCodec:
    """JSON: over HTTP, and for whoever wants to read along. A protobuf message within has protobuf's JSON form."""

    name = "json"
    number = CODEC_JSON
    content_type = "application/json"
    spi_version = SPI_VERSION

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:  # noqa: ARG002 - the value knows its type
        """Returns an encoder."""
        return msgspec.json.Encoder(enc_hook=to_builtins).encode

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a typed decoder."""
        return msgspec.json.Decoder(kind, dec_hook=from_builtins).decode
