"""The client that callers of services hold; `sync_client` has the one for callers without an event loop.

async with Client(registry="redis://127.0.0.1:6379/0", app="order") as client:
    stock = client.reference(Stock, attempts=2)        # typed as Stock
    reservation = await stock.reserve("A1", 2)
"""

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from placet_rpc.chain import Chains
from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.cluster import Directory, FailbackQueue, FailbackStore, MemoryFailbackStore
from placet_rpc.cluster.fixed_directory import FixedDirectory
from placet_rpc.cluster.instances import Connect
from placet_rpc.contract import ServiceSpec, service_of
from placet_rpc.filters import Seams
from placet_rpc.inproc import InprocRoute
from placet_rpc.invocation import Invoker
from placet_rpc.policies.degradation import Degraded
from placet_rpc.policies.ejection import EjectionLimits
from placet_rpc.proxy import CallMaker, make_proxy
from placet_rpc.reference import Reference
from placet_rpc.registry.directory import Directory as RegistryDirectory
from placet_rpc.registry.directory import open_directory
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.registry import Registry
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.registry.static import instance_id_of
from placet_rpc.server import Server
from placet_rpc.settings import DEFAULTS, MILLISECOND, Settings, checked
from placet_rpc.tcp.limits import TcpLimits
from placet_rpc.transports import Transports

_Service = TypeVar("_Service")

REFERENCES_MAX = 64
"""References with the same settings are made once; so many are remembered."""


class Client:
    """Calls services, from one event loop.

    Args:
        to: where every service is: `tcp://host:port`, `tcps://host:port`, `http(s)://host/path` where services are
            mounted, a URL of a scheme that an installed package offers (`transports`), several of these, or a `Server`
            in this process. Or an `Invoker` of your own, which then takes all calls: no policy of this client holds.
        registry: instead of `to`: where services are found, by its URL (`open_registry`), or opened; the client closes
            it.
        app: this application's name.
        timeout: of calls whose method and reference say none.
        codecs: the allow-list for TCP, by name, the preferred first.
        tls: context of `tcps` and `https` endpoints.
        limits: of the TCP transport.
        token: proof of identity for servers that ask for one.
        plain_text_beyond_loopback: allow `tcp` endpoints on other machines.
        settings: of all calls, unless a higher level says otherwise (`placet_rpc.settings`).
        seams: filters and routers in the named places of the chain.
        zone: where this process runs; its calls stay there while enough instances of it are well.
        ejection: which instances are left out for misbehaving; None: none.
        cache: limits of the registry's cache.
        failback: keeps calls that are made again later, for methods with that strategy; None: in memory.
        degraded: told of each call that was answered by a substitute.
        clock: where time comes from.
        chance: where jitter comes from.

    Attributes:
        chains: what stands between the proxies and the instances.
        directory: what is known from the registry, and how old that is; None if there is no registry.

    Raises:
        ValueError: `to` is no address, nothing offers its scheme, or neither it nor a registry is given.
    """

    def __init__(
        self,
        to: "str | Sequence[str] | Server | Invoker | None" = None,
        *,
        registry: str | Registry | None = None,
        app: str = "",
        timeout: timedelta | None = None,
        codecs: Iterable[str] = ("msgpack", "json"),
        tls: ssl.SSLContext | None = None,
        limits: TcpLimits | None = None,
        token: str = "",
        plain_text_beyond_loopback: bool = False,
        settings: Settings | None = None,
        seams: Seams | None = None,
        zone: str = "",
        ejection: EjectionLimits | None = EjectionLimits(),  # noqa: B008 - it is frozen
        cache: CacheSettings | None = None,
        failback: FailbackStore | None = None,
        degraded: Degraded | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        if (to is None) is (registry is None):
            raise ValueError("say where services are: by an address, or by a registry, and not by both")
        self.app = app
        chance = chance or new_chance()
        self.transports = Transports(
            app=app,
            codecs=codecs,
            tls=tls,
            limits=limits,
            token=token,
            plain_text_beyond_loopback=plain_text_beyond_loopback,
        )
        own = checked(settings or {}, "settings")
        if timeout is not None:
            own["timeout"] = timeout
        self._own: Invoker | None = None
        self.directory: RegistryDirectory | None = None
        if registry is not None:
            probe = self.transports.probe
            self.directory = open_directory(registry, probe=probe, app=app, settings=cache, clock=clock, chance=chance)
        directory, connect = self._found(to)
        self._timeout_ms = own.get("timeout", DEFAULTS["timeout"]) // MILLISECOND
        self._failback = FailbackQueue(failback or MemoryFailbackStore(), clock, chance)
        self._references: dict[Any, Reference] = {}
        self.chains = Chains(
            directory,
            connect,
            clock=clock,
            chance=chance,
            failback=self._failback,
            seams=seams or Seams(),
            settings=own,
            zone=zone,
            ejection=ejection,
            degraded=degraded,
        )

    def reference(
        self,
        interface: Callable[..., _Service],
        *,
        methods: Mapping[str, Settings] | None = None,
        **settings: Unpack[Settings],
    ) -> _Service:
        """Returns a proxy of a service, typed as its interface. Sends nothing.

        Args:
            interface: of the service.
            methods: settings of single methods, which go before what `@method` says.
            settings: of all its methods, unless `@method` says otherwise (`placet_rpc.settings`).

        Raises:
            TypeError: the interface is no service, is declared with plain `def` (`SyncClient` takes those), or a
                method is not suited to what is set for it.
            ValueError: nothing offers a balancer or cluster strategy of that name.
        """
        service = service_of(interface)
        invoker, timeouts_ms = self.invoker(service, methods or {}, settings)
        maker = CallMaker(service, invoker, caller=self.app, timeouts_ms=timeouts_ms)
        proxy: _Service = make_proxy(service, maker)
        return proxy

    def override(self, service: str, method: str = "", **settings: Unpack[Settings]) -> None:
        """Sets something on top of all levels while running; it holds from the next call on, until it is set anew.

        Args:
            service: its key, such as `stock/1`.
            method: its name; empty: all methods of the service.
            settings: take the place of what was set on top before; none: all of it is taken back.

        Raises:
            TypeError: a method is not suited to it. Nothing was changed.
            ValueError: nothing offers a part of that name. Nothing was changed.
        """
        self.chains.override(service, method, checked(settings, f"override of {service} {method}".rstrip()))

    def invoker(
        self, service: ServiceSpec, methods: Mapping[str, Settings], settings: Settings
    ) -> tuple[Invoker, Mapping[str, int]]:
        """Returns what takes the calls of a service, and how long those that say nothing may take, by method."""
        if self._own is not None:
            of_methods = {name: method.options.timeout_ms for name, method in service.methods.items()}
            return self._own, {name: timeout or self._timeout_ms for name, timeout in of_methods.items()}
        said = [(name, *sorted(each.items())) for name, each in (*methods.items(), ("", settings))]
        key = (service, *said)
        reference = self._references.get(key)
        if reference is None:
            of_methods_checked = {name: checked(each, f"methods[{name!r}]") for name, each in methods.items()}
            reference = self.chains.reference(service, checked(settings, service.key), of_methods_checked)
            if len(self._references) >= REFERENCES_MAX:
                del self._references[next(iter(self._references))]
            self._references[key] = reference
        return reference, reference.timeouts_ms

    async def aclose(self, wait: timedelta = timedelta()) -> None:
        """Closes the client's own connections.

        Args:
            wait: how long calls under way may still take.
        """
        await self._failback.aclose()
        await self.transports.aclose(wait)
        if self.directory is not None:
            await self.directory.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _found(self, to: "str | Sequence[str] | Server | Invoker | None") -> tuple[Directory, Connect]:
        """Returns where instances are known, and what makes the ways to them."""
        if self.directory is not None:
            return self.directory, self.transports.connect
        if isinstance(to, Server):
            inproc = InprocRoute(to)
            endpoint = Endpoint(instance_id=to.instance_id, urls=(inproc.endpoint,))
            return FixedDirectory((endpoint,)), lambda _endpoint: inproc
        if not isinstance(to, str | Sequence):
            self._own = to
            return FixedDirectory(()), self.transports.connect
        endpoints = tuple(
            Endpoint(instance_id=instance_id_of(url), urls=(url,)) for url in ((to,) if isinstance(to, str) else to)
        )
        for endpoint in endpoints:
            self.transports.route(endpoint.urls[0])  # a wrong address is an error now, and not a warning later
        return FixedDirectory(endpoints), self.transports.connect
