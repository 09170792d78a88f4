"""The codec that an extra brings: what is on the wire, what it refuses, and what is said where it is missing."""

import contextlib
import dataclasses
import sys
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest
from google.protobuf.struct_pb2 import Value
from hypothesis import given
from hypothesis import strategies as st

from conformance.rpc_transport.messages import Quote
from placet_contract.service import service
from placet_rpc.client import Client
from placet_rpc.codecs import JSON, find_codecs
from placet_rpc.contract import schema_of, service_of
from placet_rpc.outcome import Raised
from placet_rpc.server import Server

PROTOBUF = find_codecs(["protobuf"])[0]


@dataclasses.dataclass
class Line:
    """Plain data."""

    sku: str
    at: datetime
    weight: float = 1.0
    seal: bytes = b""


@service("orders")
class Orders(Protocol):
    """A service whose methods are of every kind that the rule names."""

    async def quote(self, quote: Quote) -> Quote: ...

    async def add(self, line: Line, quote: Quote) -> int: ...

    async def maybe(self, quote: Quote | None = None) -> Quote | None: ...

    async def ping(self) -> None: ...


def coding(name, codec=PROTOBUF):
    spec = service_of(Orders).methods[name]
    return spec, spec.coding(codec)


def test_a_message_alone_is_the_body_itself():
    """A peer that knows nothing of Placet's rules reads and writes what protobuf says."""
    spec, wire = coding("quote")
    quote = Quote(sku="A1", count=2**62, seal=b"\xff")
    assert wire.encode_arguments(spec.bind((quote,), {})) == quote.SerializeToString() == wire.encode_result(quote)
    assert wire.decode_arguments(quote.SerializeToString()).quote == quote
    assert wire.decode_result(quote.SerializeToString()) == quote


def test_everything_else_is_a_value_of_the_parameters_by_name():
    """Plain data, a message beside it, one that may be missing, and no parameter at all."""
    spec, wire = coding("add")
    line = Line("A1", datetime(2026, 11, 25, tzinfo=UTC), 2.5, b"\xff")
    arguments = spec.bind((line, Quote(count=2**62)), {})
    body = wire.encode_arguments(arguments)
    fields = Value.FromString(body).struct_value.fields
    assert fields["line"].struct_value.fields["sku"].string_value == "A1"
    assert fields["quote"].struct_value.fields["count"].string_value == str(2**62)
    assert wire.decode_arguments(body) == arguments
    assert wire.decode_result(wire.encode_result(3)) == 3
    for name, given_arguments in (("maybe", ()), ("maybe", (Quote(sku="A1"),)), ("ping", ())):
        spec, wire = coding(name)
        arguments = spec.bind(given_arguments, {})
        assert wire.decode_arguments(wire.encode_arguments(arguments)) == arguments
    assert wire.decode_result(wire.encode_result(None)) is None


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=12,
)


@given(json_like)
def test_plain_data_comes_back(value):
    """All that JSON has: whole numbers as such, whether they went as int or float."""
    encode, decode = PROTOBUF.encoder(Any), PROTOBUF.decoder(Any)
    assert decode(encode(value)) == value


KINDS = [
    Any,
    int,
    dict[str, Quote],
    Line,
    Raised,
    Quote,
    service_of(Orders).methods["quote"].arguments,
    service_of(Orders).methods["add"].arguments,
]


@given(st.sampled_from(KINDS), st.binary(max_size=60) | json_like.map(PROTOBUF.encoder(Any)))
def test_whatever_comes_is_a_value_or_a_value_error(kind, body):
    """No other exception reaches whoever decodes."""
    with contextlib.suppress(ValueError):
        PROTOBUF.decoder(kind)(body)


@given(st.sampled_from([Quote, dict[str, Quote], list[Quote]]), json_like)
def test_json_that_is_no_message_is_a_value_error(kind, value):
    """The same for messages within the other codecs."""
    for codec in find_codecs(["json", "msgpack"]):
        with contextlib.suppress(ValueError):
            codec.decoder(kind)(codec.encoder(Any)(value))


@pytest.mark.parametrize("number", [2**53 + 1, -(2**60)])
def test_a_number_that_would_arrive_as_another_is_refused(number):
    """A Value holds doubles; the message names the remedy."""
    with pytest.raises(ValueError, match="give it as text, in a protobuf message, or use another codec"):
        PROTOBUF.encoder(Any)({"id": [number]})


def test_what_is_no_message_is_refused_where_one_is_declared():
    """Before anything is sent."""
    spec, wire = coding("quote")
    with pytest.raises(TypeError, match="dict is no protobuf message"):
        wire.encode_arguments(spec.bind(({"sku": "A1"},), {}))


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    """Whoever allows the codec without its extra learns at the start what to install."""
    monkeypatch.delitem(sys.modules, "placet_rpc.codecs.protobuf", raising=False)
    monkeypatch.setitem(sys.modules, "google.protobuf.message", None)
    with pytest.raises(ImportError, match=r"pip install 'placet\[protobuf\]'"):
        Server(codecs=["protobuf"])


async def test_it_is_used_only_where_both_sides_allow_it():
    """The allow-lists are without it unless they say so."""

    class Taking:
        async def quote(self, quote: Quote) -> Quote:
            return quote

        async def add(self, line: Line, quote: Quote) -> int:
            return len(line.sku) + quote.count

        async def maybe(self, quote: Quote | None = None) -> Quote | None:
            return quote

        async def ping(self) -> None:
            pass

    server = Server(tcp="127.0.0.1:0")
    server.expose(Orders)(Taking())
    async with server:
        async with Client(server.endpoint, codecs=["protobuf", "msgpack"]) as client:
            assert await client.reference(Orders).quote(Quote(sku="A1")) == Quote(sku="A1")
        async with Client(server.endpoint, codecs=["protobuf"]) as client:
            with pytest.raises(Exception, match="the server takes msgpack, json, this client protobuf") as refused:
                await client.reference(Orders).ping()
            assert refused.value.safety.repeatable


def test_a_contract_knows_the_fields_of_messages():
    """Its hash and the OpenAPI document are made of their schema; a message within itself is left open."""
    schema = schema_of(Quote)
    assert schema["properties"]["count"] == {"type": "string", "pattern": "^-?[0-9]+$"}
    assert schema["properties"]["validFor"] == {"title": "google.protobuf.Duration"}
    assert schema["properties"]["parts"] == {"type": "array", "items": {"title": "placet_tests.Quote"}}

    @service("orders")
    class Other(Protocol):
        async def quote(self, quote: Value) -> Quote: ...

    assert service_of(Other).contract_hash != service_of(Orders).contract_hash
    assert JSON.encoder(Quote)(Quote(sku="A1")) == b'{"sku":"A1"}'
