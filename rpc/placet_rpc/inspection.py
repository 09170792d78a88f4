"""What an operator asks of running servers and registries; `placet rpc` prints it.

    async with Visitor("tcp://127.0.0.1:20880") as visitor:
        await call_by_hand(visitor, "stock/1/reserve", {"sku": "A1", "count": 2})
        await statistics_of(visitor)
        await call_graph_of([visitor])

Every call is one attempt: an operator repeats by hand, and knows what that may do.
"""

import asyncio
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from placet_contract.service import service as declare
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.contract import service_of
from placet_rpc.errors import (
    CallRefused,
    CallTimeout,
    ConnectFailed,
    ProtocolViolation,
    RemoteFault,
    RpcError,
    Safety,
    TargetRefused,
)
from placet_rpc.filters import chained
from placet_rpc.governance.authentication import Signing
from placet_rpc.governance.call_graph import CallGraph
from placet_rpc.governance.introspection import Introspection
from placet_rpc.governance.statistics import RowState
from placet_rpc.governance.tokens import TokenSigner
from placet_rpc.invocation import Invocation
from placet_rpc.proxy import CallMaker, make_proxy
from placet_rpc.registry.opening import RegistryContext, open_registry
from placet_rpc.registry.registry import ASK_TIMEOUT, ListsServices, Registry, RegistryRefused, RegistryUnavailable
from placet_rpc.transports import Transports

APP = "placet-rpc"
"""The caller that servers count an operator's calls under, unless these are signed by another name."""
WATCHES_MAX = 16
"""Services that are looked up at a time."""
SERVICES_MAX = 10_000

_TIMEOUT = timedelta(seconds=10)
_KEY_PARTS = 3

_Service = TypeVar("_Service")


class ListedInstance(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One instance, as a registry knows it.

    Attributes:
        service: its key.
        instance_id: of the process.
        urls: how it is reached, the preferred way first.
        weight: its share of the calls; 0: it is being drained. None: the registry does not say.
        zone: where it runs; empty if it does not say.
        age_seconds: since it started; None: unknown.
        lease_until: when its announcement ends, if the registry says so.
    """

    service: str
    instance_id: str
    urls: tuple[str, ...]
    weight: int | None = None
    zone: str = ""
    age_seconds: float | None = None
    lease_until: str | None = None


class Visitor:
    """Calls one server, each call once; an async context manager.

    There is no chain between the call and the connection: an operator wants to see what is there, not what a breaker
    or a second attempt would make of it.

    Args:
        url: `tcp://host:port`, `tcps://…`, or `http(s)://host/path` where services are mounted.
        timeout: of each call.
        signer: for servers that want to know who calls.
        plain_text: allow `tcp` to other machines.

    Raises:
        ValueError: it is no such URL.
    """

    def __init__(
        self, url: str, *, timeout: timedelta = _TIMEOUT, signer: TokenSigner | None = None, plain_text: bool = False
    ) -> None:
        if "://" not in url:
            raise ValueError(f"{url!r} is no address of a server: write tcp://host:port, or http://host/path")
        self._app = signer.app if signer is not None else APP
        self._timeout_ms = timeout // timedelta(milliseconds=1)
        self._transports = Transports(app=self._app, plain_text_beyond_loopback=plain_text)
        auth = (Signing(signer),) if signer is not None else ()
        self._proceed = chained(auth, self._transports.route(url).invoke)

    async def invoke(self, call: Invocation) -> Any:
        """Makes a call; satisfies `Invoker`."""
        return await self._proceed(call)

    def reference(self, interface: Callable[..., _Service]) -> _Service:
        """Returns a proxy of a service. Sends nothing."""
        service = service_of(interface)
        timeouts_ms = dict.fromkeys(service.methods, self._timeout_ms)
        proxy: _Service = make_proxy(service, CallMaker(service, self, caller=self._app, timeouts_ms=timeouts_ms))
        return proxy

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transports.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def signer_of(key: str) -> TokenSigner:
    """Returns what signs an operator's calls.

    Args:
        key: `APP:KEY_ID:SECRET`.

    Raises:
        ValueError: it is not of this form; the message does not hold the secret.
    """
    parts = key.split(":", _KEY_PARTS - 1)
    if len(parts) < _KEY_PARTS:
        raise ValueError("a key is APP:KEY_ID:SECRET, as the server knows it")
    app, key_id, secret = parts
    return TokenSigner(app, key_id=key_id, secret=secret)


async def call_by_hand(visitor: Visitor, name: str, arguments: Mapping[str, Any]) -> Any:
    """Calls one method of a service whose interface is not at hand.

    Args:
        visitor: of the server.
        name: `service/version/method`.
        arguments: by the names of the parameters; what JSON can say.

    Returns:
        The result, as dicts, lists and plain values.

    Raises:
        ValueError: the name is none.
        RpcError: there is no result. An exception of the contract is a `RemoteFault` that has `told`.
    """
    service, separator, method = name.rpartition("/")
    if not separator or not method.isidentifier() or service.count("/") != 1:
        raise ValueError(f"{name!r} names no method: write service/version/method, such as stock/1/reserve")
    proxy = visitor.reference(_interface(service, method, arguments))
    return await getattr(proxy, method)(**arguments)


def _interface(service: str, method: str, names: Iterable[str]) -> type:
    """Makes the interface that a call needs: its one method, with the parameters that are given."""

    async def function(_self: object, **_arguments: Any) -> Any: ...

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    try:
        parameters += [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=Any) for name in names]
    except ValueError as error:
        raise ValueError(f"arguments are given by the names of parameters: {error}") from None
    function.__name__ = method
    function.__signature__ = inspect.Signature(parameters, return_annotation=Any)  # type: ignore[attr-defined]  # read by `inspect.signature`
    function.__annotations__ = {**dict.fromkeys(names, Any), "return": Any}
    name, _, version = service.partition("/")
    return declare(name, version=version)(type(name, (), {method: function}))


async def statistics_of(visitor: Visitor) -> list[RowState]:
    """Returns what a server has counted, per caller and method.

    Raises:
        RpcError: it does not say.
    """
    return await visitor.reference(Introspection).stats()


async def call_graph_of(visitors: Iterable[Visitor]) -> CallGraph:
    """Returns who calls whom, as far as these servers know.

    Raises:
        RpcError: one of them does not say: a graph that lacks its calls would look better than things are.
    """
    graphs = await asyncio.gather(*(visitor.reference(Introspection).graph() for visitor in visitors))
    return CallGraph(edge for edges in graphs for edge in edges)


async def list_instances(
    registry: str, services: Iterable[str] = (), *, token: str = "", clock: Clock = SYSTEM_CLOCK
) -> list[ListedInstance]:
    """Returns the instances that a registry knows now.

    Args:
        registry: its URL (`open_registry`).
        services: only of these; none: of all.
        token: for registries that want one.
        clock: where time comes from.

    Raises:
        ValueError: it is no registry's URL.
        RegistryUnavailable: it does not answer.
        RegistryRefused: it does not say.
    """
    opened = open_registry(registry, RegistryContext(token=token, clock=clock))
    try:
        wanted = list(services) or await _services_of(opened)
        places = asyncio.Semaphore(WATCHES_MAX)
        found = await asyncio.gather(*(_instances_of(opened, service, places, clock) for service in wanted))
        return [instance for instances in found for instance in instances]
    finally:
        await opened.aclose()


async def _services_of(registry: Registry) -> list[str]:
    if not isinstance(registry, ListsServices):
        raise RegistryRefused("this registry can't say which services it knows: name the ones that you mean")
    services = await registry.services()
    if len(services) > SERVICES_MAX:
        raise RegistryRefused(f"there are {len(services)} services, {SERVICES_MAX} are the most: name those you mean")
    return services


async def _instances_of(
    registry: Registry, service: str, places: asyncio.Semaphore, clock: Clock
) -> list[ListedInstance]:
    async with places, aclosing(registry.watch(service)) as watch:
        try:
            async with asyncio.timeout(2 * ASK_TIMEOUT.total_seconds()):
                snapshot = await anext(watch)
        except TimeoutError:
            raise RegistryUnavailable(f"it says nothing of {service}") from None
    now = clock.monotonic()
    return [
        ListedInstance(
            service=service,
            instance_id=endpoint.instance_id,
            urls=endpoint.urls,
            weight=endpoint.weight,
            zone=endpoint.zone,
            age_seconds=None if endpoint.up_since is None else max(now - endpoint.up_since, 0.0),
        )
        for endpoint in snapshot.endpoints
    ]


_REMEDIES = {
    "forbidden": "its access list decides; what a server tells of itself is for its own machine and over TCP, "
    "unless a rule for placet.introspection/* allows more",
    "unauthenticated": "sign the call: set PLACET_RPC_KEY to APP:KEY_ID:SECRET, as the server knows it",
    "no_such_method": "see what it offers: placet rpc call URL placet.introspection/1/services",
    "arguments": "give the parameters of the method, by name: placet rpc call URL placet.introspection/1/services",
}


def remedy_for(error: RpcError) -> str:
    """Returns what an operator may do about a call without a result; empty if nobody knows."""
    remedy = ""
    match error:
        case TargetRefused():
            remedy = "plain text stays on this machine: use tcps://, or allow it with --plain-text"
        case ConnectFailed():
            remedy = "is it running, and is this the address where it listens?"
        case CallRefused(reason=reason):
            remedy = _REMEDIES.get(reason, "")
        case CallTimeout() if error.safety is Safety.UNKNOWN:
            remedy = "it may have run, or may run still: look before you call again; more time: --timeout"
        case CallTimeout():
            remedy = "give it more time: --timeout"
        case ProtocolViolation():
            remedy = "this is no address of services of Placet's RPC"
        case RemoteFault(told=()):
            remedy = "it ran and failed: the server's log says how"
    return remedy
