"""Protobuf messages as a part of signatures, in every codec; the library is imported when the first one comes by.

Whoever has a message class has the library, so nothing here needs the extra: only the codec `protobuf` does.
"""

from typing import Any

_WELL_KNOWN = "google.protobuf."
"""Of these some are not an object in JSON: a Duration is a text, a ListValue a list."""


def is_message(kind: object) -> bool:
    """True for a class that protobuf generated."""
    return isinstance(kind, type) and hasattr(kind, "DESCRIPTOR") and hasattr(kind, "FromString")


def message_from_bytes(kind: Any, body: bytes) -> Any:
    """Decodes a message.

    Raises:
        ValueError: it is none.
    """
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - see the module's text

    try:
        return kind.FromString(body)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def message_to_json(message: Any) -> Any:
    """Returns a message as plain data, as protobuf's own JSON mapping has it: 64-bit integers are texts.

    Raises:
        ValueError: it has no such form (an Any of an unknown type, a number in a Value that is none).
    """
    from google.protobuf.json_format import Error, MessageToDict  # noqa: PLC0415 - see the module's text

    try:
        return MessageToDict(message)
    except (Error, TypeError) as error:
        raise ValueError(f"{type(message).__name__}: {error}") from None


def message_from_json(kind: Any, value: Any) -> Any:
    """Makes a message from plain data; members that it has not are ignored, as everywhere in protobuf.

    Raises:
        ValueError: that is not a message of this type.
    """
    from google.protobuf.json_format import Error, ParseDict  # noqa: PLC0415 - see the module's text

    if not isinstance(value, dict) and not kind.DESCRIPTOR.full_name.startswith(_WELL_KNOWN):
        raise ValueError(f"{kind.__name__} is an object, not a {type(value).__name__}")
    try:
        return ParseDict(value, kind(), ignore_unknown_fields=True)
    except (Error, TypeError, AttributeError) as error:  # it takes wrong types of well-known messages as they come
        raise ValueError(f"{kind.__name__}: {error}") from None


def message_schema(kind: Any) -> dict[str, Any]:
    """Returns the JSON schema of a message."""
    return _schema(kind.DESCRIPTOR, ())


def _schema(message: Any, within: tuple[str, ...]) -> dict[str, Any]:
    name = message.full_name
    if name in within or name.startswith(_WELL_KNOWN):
        return {"title": name}
    within = (*within, name)
    return {
        "title": name,
        "type": "object",
        "properties": {field.json_name: _schema_of_field(field, within) for field in message.fields},
    }


def _schema_of_field(field: Any, within: tuple[str, ...]) -> dict[str, Any]:
    of_one = _SCALARS.get(field.type)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return {"type": "object", "additionalProperties": _schema_of_field(field.message_type.fields[1], within)}
    if of_one is not None:
        schema = of_one
    elif field.enum_type is not None:
        schema = {"enum": [value.name for value in field.enum_type.values]}
    else:
        schema = _schema(field.message_type, within)
    return {"type": "array", "items": schema} if field.is_repeated else schema


_TEXT, _NUMBER, _INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
_LONG_INTEGER = {"type": "string", "pattern": "^-?[0-9]+$"}
_SCALARS: dict[int, dict[str, Any]] = {
    # The numbers of descriptor.proto's FieldDescriptorProto.Type.
    1: _NUMBER,
    2: _NUMBER,
    **dict.fromkeys((5, 7, 13, 15, 17), _INTEGER),
    **dict.fromkeys((3, 4, 6, 16, 18), _LONG_INTEGER),
    8: {"type": "boolean"},
    9: _TEXT,
    12: {"type": "string", "contentEncoding": "base64"},
}
