"""Payloads and results: Python values to JSON and back."""

from functools import lru_cache
from typing import Any, TypeVar, cast, overload

import msgspec
from pydantic import BaseModel, TypeAdapter

T = TypeVar("T")

_TYPES_MAX = 1_024


def _encode_unknown(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    kind = type(value).__name__
    raise TypeError(f"a payload can't hold {kind}: use a pydantic model, Struct, dataclass or plain JSON")


_encoder = msgspec.json.Encoder(enc_hook=_encode_unknown)


def encode_payload(value: Any) -> bytes:
    """Returns the value as JSON.

    Args:
        value: a pydantic model, msgspec Struct, dataclass, or plain JSON data that may hold these.

    Raises:
        TypeError: the value has no JSON form.
        ValueError: its text is not Unicode (a lone surrogate).
    """
    if isinstance(value, BaseModel):
        return value.model_dump_json().encode()
    return _encoder.encode(value)


@lru_cache(_TYPES_MAX)
def _adapter(wanted: Any) -> TypeAdapter[Any]:
    return TypeAdapter(wanted)


@overload
def decode_result(body: bytes, returns: type[T]) -> T: ...
@overload
def decode_result(body: bytes, returns: None) -> Any: ...
def decode_result(body: bytes, returns: type[T] | None) -> T | Any:
    """Returns a result in the type asked for; without one as plain JSON data, an empty body as None.

    Raises:
        ValueError: the body is no JSON, or not of that type (the errors of msgspec and pydantic are ValueErrors).
    """
    if returns is None:
        return msgspec.json.decode(body) if body else None
    if isinstance(returns, type) and issubclass(returns, msgspec.Struct):
        return msgspec.json.decode(body, type=returns)
    wanted: Any = returns
    return cast("T", _adapter(wanted).validate_json(body or b"null"))
