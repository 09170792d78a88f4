"""Routes: calls of methods to one endpoint, over TCP or HTTP."""

import asyncio

import msgspec

from placet_rpc.call_headers import CallHeaders
from placet_rpc.codecs import JSON, Codec
from placet_rpc.errors import CallRefused, CallTimeout, ProtocolViolation, ReplyUnreadable, RpcError, Safety
from placet_rpc.frames import Hello
from placet_rpc.http import HeaderBlock, HeaderTemplate, HttpClient, HttpTarget
from placet_rpc.invocation import Invocation
from placet_rpc.outcome import MARK, NO_SUCH_METHOD_REASON, OK, UNFIT_REASON, result_of
from placet_rpc.tcp.client import TcpClient
from placet_rpc.transport import Reply

TIMEOUT_FIELD = "placet-time-left-ms"
EXTRA_FIELD = "placet-extra"


_HEADERS = CallHeaders()  # the same to all endpoints


class TcpRoute:
    """Calls to one endpoint over TCP; satisfies `Invoker`.

    Args:
        client: whose connection is used.
        endpoint: such as `tcp://127.0.0.1:20880`.
        codecs: the allow-list, the preferred first; the first that the server takes too is used.
    """

    def __init__(self, client: TcpClient, endpoint: str, codecs: tuple[Codec, ...]) -> None:
        self.endpoint = endpoint
        self._link = client.link(endpoint)
        self._codecs = codecs
        self._codec: Codec | None = None
        self._chosen_of: Hello | None = None

    @property
    def is_available(self) -> bool:
        """False while the server drains or can't be reached."""
        return self._link.is_available

    async def invoke(self, call: Invocation) -> object:
        """Makes the call."""
        codec = self._codec
        if codec is None or self._link.peer is not self._chosen_of:
            codec = await self._agree(call)
        reply = await self._sent(call, codec)
        try:
            return result_of(call, codec, reply, self.endpoint)
        except (CallRefused, ReplyUnreadable) as error:
            if reply.status == OK or getattr(error, "reason", "") in _OF_ANOTHER_CONTRACT:
                _say_whether_contracts_differ(error, call, self._chosen_of)
            raise

    async def _agree(self, call: Invocation) -> Codec:
        """Connects if need be, and returns the codec that the server takes too."""
        link = self._link
        peer = link.peer
        if peer is None:
            before = link.loop.time()
            peer = await link.meet(call.timeout_ms)
            call.timeout_ms -= int((link.loop.time() - before) * 1000)
        self._codec = next((codec for codec in self._codecs if codec.name in peer.codecs), None)
        self._chosen_of = peer
        if self._codec is None:
            message = (
                f"the server takes {', '.join(peer.codecs)}, this client {', '.join(c.name for c in self._codecs)}"
            )
            raise CallRefused(message, reason="unknown_codec", push_back_ms=-1, endpoint=self.endpoint)
        return self._codec

    def _sent(self, call: Invocation, codec: Codec) -> asyncio.Future[Reply]:
        # Not part of `invoke`, so that what is encoded is let go of as soon as it is written.
        link = self._link
        reply: asyncio.Future[Reply] = link.loop.create_future()
        body = call.method.coding(codec).encode_arguments(call.arguments)
        link.send(codec.number, _HEADERS.encode(call), body, call.timeout_ms, reply)
        return reply


_OF_ANOTHER_CONTRACT = (NO_SUCH_METHOD_REASON, UNFIT_REASON)


def _say_whether_contracts_differ(error: RpcError, call: Invocation, peer: Hello | None) -> None:
    """Adds to an error that may come from two versions of an interface whether there are two."""
    theirs = peer.contracts.get(call.service.key) if peer is not None else None
    if theirs is not None and theirs != call.service.contract_hash:
        error.message += (
            f"; the contract of {call.service.key} is {theirs} there and {call.service.contract_hash} here:"
            " the two sides were built from different versions of it"
        )


class HttpRoute:
    """Calls to one endpoint over HTTP with JSON; satisfies `Invoker`.

    Args:
        client: whose connections are used.
        endpoint: where the service is mounted, such as `http://127.0.0.1:8000/rpc`.
    """

    is_available = True

    def __init__(self, client: HttpClient, endpoint: str) -> None:
        self.endpoint = endpoint.rstrip("/")
        self._client = client
        self._targets: dict[tuple[str, str], HttpTarget] = {}

    async def invoke(self, call: Invocation) -> object:
        """Makes the call."""
        name = (call.service.key, call.method.name)
        target = self._targets.get(name)
        if target is None:
            url = f"{self.endpoint}/{name[0]}/{name[1]}"
            target = self._targets[name] = self._client.target(url, headers=[("content-type", "application/json")])
        if call.timeout_ms <= 0:
            raise CallTimeout("no time left", safety=Safety.NOT_SENT, endpoint=self.endpoint)
        body = call.method.coding(JSON).encode_arguments(call.arguments)
        reply = await target.call(body, _fields(call), timeout_ms=call.timeout_ms)
        if reply.header(MARK.decode()) is None:
            message = f"status {reply.status} from something that is no Placet service: is one mounted at this URL?"
            raise ProtocolViolation(message, endpoint=self.endpoint)
        return result_of(call, JSON, reply, self.endpoint)


FIELD_NAMES = {
    "caller": "placet-caller",
    "key": "placet-key",
    "idempotency_key": "idempotency-key",
    "traceparent": "traceparent",
    "xid": "placet-gid",
}


_TEMPLATES: dict[tuple[str, ...], HeaderTemplate] = {}
"""By the fields that a call has: 64 at most."""


def _fields(call: Invocation) -> HeaderBlock:
    names, values = [TIMEOUT_FIELD, "placet-attempt"], [str(call.timeout_ms), str(call.attempt)]
    for name, field in FIELD_NAMES.items():
        if value := getattr(call, name):
            names.append(field)
            values.append(value)
    if call.extra:
        names.append(EXTRA_FIELD)
        values.append(msgspec.json.encode(call.extra).decode())
    key = tuple(names)
    template = _TEMPLATES.get(key)
    if template is None:
        template = _TEMPLATES[key] = HeaderTemplate(*key)
    return template.fill(*values)


__all__ = ["EXTRA_FIELD", "FIELD_NAMES", "OK", "TIMEOUT_FIELD", "HttpRoute", "TcpRoute"]
