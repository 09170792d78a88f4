"""From a decorated interface to what a proxy and a server need of it; whatever can't travel is an error here."""

import abc
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Generic, Protocol, get_type_hints

import msgspec

from placet_contract.service import METHOD_ATTRIBUTE, SERVICE_ATTRIBUTE, MethodOptions, ServiceOptions
from placet_rpc.codecs.builtin import is_model, travels
from placet_rpc.codecs.codec import Arguments, Codec
from placet_rpc.codecs.message import is_message, message_schema

_NOT_INTERFACES = (object, Protocol, Generic, abc.ABC)


class Coding:
    """Encoders and decoders of one method in one codec."""

    __slots__ = ("decode_arguments", "decode_result", "encode_arguments", "encode_result")

    def __init__(self, codec: Codec, arguments: type, result: Any) -> None:
        self.encode_arguments = codec.encoder(arguments)
        self.decode_arguments = codec.decoder(arguments)
        self.encode_result = codec.encoder(result)
        self.decode_result = codec.decoder(result)


class MethodSpec:
    """One method of a service.

    Attributes:
        name: of the method.
        options: what `@method` said.
        is_async: declared with `async def`.
        arguments: a Struct with one member per parameter; a parameter that has its default value is not sent, one
            that the other side does not know is refused.
        result: the annotation of what it returns.
        names: of the parameters, in order; those that may be given by position first.
    """

    def __init__(self, service: str, function: Callable[..., Any]) -> None:
        self.name = function.__name__
        self.options: MethodOptions = getattr(function, METHOD_ATTRIBUTE, MethodOptions())
        self.is_async = inspect.iscoroutinefunction(function)
        where = f"{service}.{self.name}"
        parameters = list(inspect.signature(function).parameters.values())[1:]
        try:
            hints = get_type_hints(function, include_extras=True)
        except NameError as error:
            raise TypeError(f"{where}: {error}; annotations must be known when the service is used") from None
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise TypeError(f"{where}: parameter {parameter.name!r} has no name to travel by: take no * or /")
            if parameter.name not in hints:
                raise TypeError(f"{where}: parameter {parameter.name!r} needs a type")
        if "return" not in hints:
            raise TypeError(f"{where}: say what it returns (-> None if nothing)")
        self.names = tuple(parameter.name for parameter in parameters)
        self.result = hints["return"]
        self._positional = sum(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters)
        if self.options.order_by and self.options.order_by not in self.names:
            raise TypeError(f"{where}: order_by names {self.options.order_by!r}, which is none of its parameters")
        self._all_positional = self._positional == len(self.names)
        self.arguments = _arguments(where, parameters, hints, kw_only=not self._all_positional)
        for kind in (self.arguments, self.result):
            _check_travels(where, kind)
        self._codings: dict[int, Coding] = {}

    def coding(self, codec: Codec) -> Coding:
        """Returns the method's encoders and decoders in a codec."""
        coding = self._codings.get(codec.number)
        if coding is None:
            coding = self._codings[codec.number] = Coding(codec, self.arguments, self.result)
        return coding

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Returns the Struct of a call's arguments.

        Raises:
            TypeError: they don't fit the signature.
        """
        if len(args) > self._positional:
            raise TypeError(f"{self.name}() takes {self._positional} arguments by position, {len(args)} were given")
        if not kwargs and self._all_positional:
            return self.arguments(*args)
        values = dict(zip(self.names, args, strict=False))
        for name, value in kwargs.items():
            if name in values:
                raise TypeError(f"{self.name}() got {name!r} twice")
            values[name] = value
        return self.arguments(**values)

    def ordering_key(self, arguments: Any) -> str:
        """Returns the ordering key of a call, empty if the method has none."""
        return str(getattr(arguments, self.options.order_by)) if self.options.order_by else ""


class ServiceSpec:
    """A service.

    Attributes:
        options: what `@service` said.
        key: name and version.
        methods: by name.
        contract_hash: equal where both sides declare the same, `async` aside; for diagnosis only.
    """

    def __init__(self, interface: type) -> None:
        options = interface.__dict__.get(SERVICE_ATTRIBUTE)
        if not isinstance(options, ServiceOptions):
            raise TypeError(f"{interface.__name__} is no service: decorate it with @service(name)")
        self.options = options
        self.key = options.key
        self.methods = {name: MethodSpec(interface.__name__, function) for name, function in _functions(interface)}
        if not self.methods:
            raise TypeError(f"service {interface.__name__} has no public method")
        self.contract_hash = self._hash()

    def _hash(self) -> str:
        described = {
            name: [schema_of(spec.arguments), schema_of(spec.result)] for name, spec in sorted(self.methods.items())
        }
        return hashlib.sha256(msgspec.json.encode(described, order="deterministic")).hexdigest()[:16]


@lru_cache(maxsize=1024)
def service_of(interface: Callable[..., Any]) -> ServiceSpec:
    """Returns the specification of a decorated interface.

    Raises:
        TypeError: it is not decorated, or something in it can't travel; the message says what.
    """
    if not isinstance(interface, type):
        raise TypeError(f"{interface!r} is no class: pass the interface itself")
    return ServiceSpec(interface)


def schema_of(kind: Any) -> dict[str, Any]:
    """Returns the JSON schema of a type, with all references resolved."""
    schema: dict[str, Any] = _inline(msgspec.json.schema(kind, schema_hook=_model_schema), {}, ())
    return schema


def _model_schema(kind: type) -> dict[str, Any]:
    if is_model(kind):
        schema: dict[str, Any] = kind.model_json_schema()  # type: ignore[attr-defined]  # is_model looked
        return schema
    if is_message(kind):
        return message_schema(kind)
    raise NotImplementedError


def _inline(schema: Any, definitions: Mapping[str, Any], within: tuple[str, ...]) -> Any:
    """Resolves references; a type within itself is left open, for a document has no place for it."""
    if isinstance(schema, list):
        return [_inline(item, definitions, within) for item in schema]
    if not isinstance(schema, dict):
        return schema
    definitions = {**definitions, **schema.get("$defs", {})}
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return {} if name in within else _inline(definitions.get(name, {}), definitions, (*within, name))
    return {name: _inline(value, definitions, within) for name, value in schema.items() if name != "$defs"}


def _functions(interface: type) -> Iterator[tuple[str, Callable[..., Any]]]:
    seen = set()
    for base in interface.__mro__:
        if base in _NOT_INTERFACES:
            continue
        for name, member in base.__dict__.items():
            if not name.startswith("_") and name not in seen and inspect.isfunction(member):
                seen.add(name)
                yield name, member


def _arguments(where: str, parameters: list[inspect.Parameter], hints: Mapping[str, Any], *, kw_only: bool) -> type:
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in parameters:
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hints[parameter.name]))
        else:
            fields.append((parameter.name, hints[parameter.name], parameter.default))
    try:
        return msgspec.defstruct(
            f"Arguments of {where.rpartition('.')[2]}",
            fields,
            bases=(Arguments,),
            kw_only=kw_only,
            forbid_unknown_fields=True,
            omit_defaults=True,
            gc=False,
        )
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None


def _check_travels(where: str, kind: Any) -> None:
    try:
        info = msgspec.inspect.type_info(kind)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from None
    for custom in _custom(info, set()):
        if not travels(custom):
            raise TypeError(
                f"{where}: {getattr(custom, '__name__', custom)} can't travel: use a dataclass, Struct, attrs class,"
                " TypedDict, pydantic model, protobuf message or builtin type"
            )


def _custom(info: Any, seen: set[int]) -> Iterator[Any]:
    """Finds the types that the codecs know nothing of."""
    if id(info) in seen:
        return
    seen.add(id(info))
    if isinstance(info, msgspec.inspect.CustomType):
        yield info.cls
    elif isinstance(info, msgspec.inspect.Type | msgspec.inspect.Field):
        for name in info.__struct_fields__:
            value = getattr(info, name)
            for part in value if isinstance(value, tuple) else (value,):
                yield from _custom(part, seen)
