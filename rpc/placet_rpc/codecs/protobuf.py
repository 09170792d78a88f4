"""Protocol Buffers, for peers in other languages: a codec like any that a package brings. Needs the extra `protobuf`.

    pip install 'placet[protobuf]'
    Server(tcp=…, codecs=("msgpack", "protobuf")); Client(…, codecs=("protobuf", "msgpack"))

The rule, for each body on its own:

- The only parameter of a method is a message: the body is that message. The result is a message: so is its body. Then
  nothing on the wire is ours, and protobuf's own rules hold: fields that the other side does not know are ignored.
- Everything else, and every answer that is no result, is a `google.protobuf.Value` with what JSON would hold: an
  object of the parameters by name; bytes in base64, times as texts, messages within in protobuf's JSON form. A
  parameter that the other side does not know is refused, as in the other codecs.

A Value holds numbers as doubles. A whole number beyond 2**53 would arrive as another one, so it is refused.
"""

from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from google.protobuf.struct_pb2 import NULL_VALUE, Value

from placet_rpc.codecs.builtin import from_builtins, to_builtins
from placet_rpc.codecs.codec import SPI_VERSION, Arguments
from placet_rpc.codecs.message import is_message, message_from_bytes
from placet_rpc.frames.hello import CODEC_PROTOBUF

WHOLE_NUMBER_MAX = 2**53
"""Above it not every whole number is a double."""


class ProtobufCodec:
    """Protocol Buffers; see the module's text for what is encoded as what."""

    name = "protobuf"
    number = CODEC_PROTOBUF
    content_type = "application/protobuf"
    spi_version = SPI_VERSION

    def encoder(self, kind: Any) -> Callable[[Any], bytes]:
        """Returns an encoder; it raises `ValueError` for what a Value can't hold."""
        if is_message(kind):
            return _encode_message
        if (name := _only_message(kind)) is not None:
            return lambda arguments: _encode_message(getattr(arguments, name))
        return _encode_value

    def decoder(self, kind: Any) -> Callable[[bytes], Any]:
        """Returns a typed decoder."""
        if is_message(kind):
            return lambda body: message_from_bytes(kind, body)
        if (name := _only_message(kind)) is not None:
            message = msgspec.structs.fields(kind)[0].type
            return lambda body: kind(**{name: message_from_bytes(message, body)})
        return lambda body: msgspec.convert(_decode_value(body), kind, dec_hook=from_builtins, str_keys=True)


def _only_message(kind: Any) -> str | None:
    """Returns the name of a method's only parameter if it is a message."""
    if not (isinstance(kind, type) and issubclass(kind, Arguments)):
        return None
    fields = msgspec.structs.fields(kind)
    return fields[0].name if len(fields) == 1 and is_message(fields[0].type) else None


def _encode_message(message: Any) -> bytes:
    if not is_message(type(message)):
        raise TypeError(f"{type(message).__name__} is no protobuf message, but the method declares one")
    encoded: bytes = message.SerializeToString()
    return encoded


def _encode_value(value: Any) -> bytes:
    root = Value()
    _fill(root, msgspec.to_builtins(value, enc_hook=to_builtins, str_keys=True))
    encoded: bytes = root.SerializeToString()
    return encoded


def _fill(target: Any, value: Any) -> None:
    if value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        if isinstance(value, int) and abs(value) > WHOLE_NUMBER_MAX:
            raise ValueError(f"{value} is beyond 2**53: give it as text, in a protobuf message, or use another codec")
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()  # an empty one is one too
        for name, item in value.items():
            _fill(target.struct_value.fields[name], item)
    else:
        target.list_value.SetInParent()
        for item in value:
            _fill(target.list_value.values.add(), item)


def _decode_value(body: bytes) -> Any:
    try:
        return _read(Value.FromString(body))
    except DecodeError as error:
        raise ValueError(str(error)) from None


def _read(value: Any) -> Any:
    match value.WhichOneof("kind"):
        case "string_value":
            return value.string_value
        case "number_value":
            number = value.number_value
            return int(number) if number.is_integer() and abs(number) <= WHOLE_NUMBER_MAX else number
        case "struct_value":
            return {name: _read(item) for name, item in value.struct_value.fields.items()}
        case "list_value":
            return [_read(item) for item in value.list_value.values]
        case "bool_value":
            return value.bool_value
        case "null_value":
            return None
    raise ValueError("a google.protobuf.Value that holds nothing")
