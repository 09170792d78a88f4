"""The server that service authors hold: expose implementations, over TCP and as an ASGI application.

server = Server(tcp="127.0.0.1:20880")
server.expose(Stock)(StockInMemory())
async with server: ...

Every server counts its calls and tells of itself (`governance.introspection`): `placet rpc stats tcp://127.0.0.1:20880`.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self, TypeVar
from uuid import uuid4

from placet_rpc.codecs import find_codecs
from placet_rpc.contract import service_of
from placet_rpc.dispatch import MAX_THREADS, MAX_WAITING_FOR_THREADS, Operations, Threads
from placet_rpc.governance.access import Access, AccessList
from placet_rpc.governance.counting import ServedStatistics
from placet_rpc.governance.introspection import Introspection, ServerIntrospection
from placet_rpc.governance.statistics import Statistics
from placet_rpc.method_calls import MethodCalls
from placet_rpc.registry import Advertisement, Announcer, Registry, open_registry
from placet_rpc.served_call import OffersServices, ServerFilter
from placet_rpc.tcp.limits import TcpServerLimits
from placet_rpc.tcp.server import GRACE, LINGER, Admit, Handler, TcpServer

_Service = TypeVar("_Service")


class Server:
    """Offers services.

    Args:
        tcp: `host:port` to listen on, port 0 for a free one; None: only `asgi` and the like.
        codecs: the allow-list for TCP, by name.
        tls: context of the TCP transport (`placet_rpc.tcp.server_tls`).
        plain_text_beyond_loopback: allow other machines to connect without TLS.
        limits: of the TCP transport.
        max_threads: plain `def` implementations that run at a time.
        max_waiting_for_threads: that many more may wait; beyond it calls are refused.
        admit: looks at each TCP client's HELLO and certificate.
        handlers: further requests that the TCP port takes, such as `{CODEC_HTTP: HttpCalls(app)}`.
        app: this application's name.
        instance_id: of this process; one is made if it is not given.
        filters: stand before all implementations, the first outermost; the server closes them. Those of this package
            belong in this order: `Authentication`, `Access`, `Idempotency`, `Ordering`.
        statistics: where calls are counted, always; None: a place of the server's own.
        registry: where the services exposed by the start are announced, by its URL (`open_registry`), or opened; the
            server closes it.
        advertisement: what is said there of this server.
    """

    def __init__(
        self,
        *,
        tcp: str | None = None,
        codecs: Iterable[str] = ("msgpack", "json"),
        tls: ssl.SSLContext | None = None,
        plain_text_beyond_loopback: bool = False,
        limits: TcpServerLimits | None = None,
        max_threads: int = MAX_THREADS,
        max_waiting_for_threads: int = MAX_WAITING_FOR_THREADS,
        admit: Admit | None = None,
        handlers: dict[int, Handler] | None = None,
        app: str = "",
        instance_id: str = "",
        filters: Sequence[ServerFilter] = (),
        statistics: Statistics | None = None,
        registry: str | Registry | None = None,
        advertisement: Advertisement | None = None,
    ) -> None:
        self.app = app
        self.instance_id = instance_id or uuid4().hex
        self._threads = Threads(max_threads, max_waiting_for_threads)
        self._filters = tuple(filters)
        self.statistics = statistics or Statistics()
        counting = ServedStatistics(self.statistics, self.instance_id)
        self.operations = Operations(self._threads, counting, self._filters)
        self._tcp = tcp
        self._codecs = find_codecs(codecs)
        self._tls = tls
        self._plain = plain_text_beyond_loopback
        self._limits = limits
        self._admit = admit
        self._handlers = handlers or {}
        self.tcp_server: TcpServer | None = None
        self._registry = registry
        self._advertisement = advertisement or Advertisement()
        self.announcer: Announcer | None = None
        self._offer_own()
        self._own = frozenset(self.operations.services)

    def _offer_own(self) -> None:
        # Nobody who forgot to write an access list should show the world who calls whom.
        guards = () if any(isinstance(one, Access) for one in self._filters) else (Access(AccessList()),)
        own = ServerIntrospection(self.operations, self.statistics, app=self.app, instance_id=self.instance_id)
        self.operations.add(service_of(Introspection), own, guards)
        for one in self._filters:
            if isinstance(one, OffersServices):
                for service, implementation in one.own_services():
                    self.operations.add(service, implementation)

    def expose(self, interface: Callable[..., _Service]) -> Callable[[_Service], None]:
        """Offers an implementation: `server.expose(Stock)(StockImpl())`. mypy checks it against the interface.

        Raises:
            TypeError: the interface can't travel, or the implementation has not its methods and parameters.
            ValueError: the service is offered already.
        """
        service = service_of(interface)

        def offer(implementation: _Service) -> None:
            self.operations.add(service, implementation)

        return offer

    @property
    def endpoint(self) -> str:
        """Where TCP clients connect, once started."""
        if self._tcp is None or self.tcp_server is None:
            raise RuntimeError("this server listens on no TCP port: give it tcp='host:port' and start it")
        host = self._tcp.rpartition(":")[0]
        return f"{'tcps' if self._tls is not None else 'tcp'}://{host}:{self.tcp_server.port}"

    async def start(self) -> None:
        """Listens, then announces; a registry that is down is told when it is back.

        Raises:
            ValueError: the address is none, or is not loopback and there is no TLS; or there is none that could be
                announced.
            OSError: it can't be listened on.
            RegistryRefused: the registry will not be told.
        """
        if self._tcp is not None:
            await self._listen(self._tcp)
        if self._registry is not None:
            try:
                await self._announce(self._registry)
            except BaseException:
                await self.aclose(linger=timedelta())
                raise

    async def _announce(self, registry: str | Registry) -> None:
        tcp = "" if self._tcp is None else self.endpoint
        names = tuple(codec.name for codec in self._codecs) if tcp else ()
        endpoint = self._advertisement.endpoint(self.instance_id, tcp, names, time.monotonic())
        # Whoever asks a server about itself has its address; announced, it would be a service that all servers offer.
        services = self.operations.services.keys() - self._own
        opened = open_registry(registry) if isinstance(registry, str) else registry
        self.announcer = Announcer(opened, sorted(services), endpoint)
        await self.announcer.start()

    async def _listen(self, tcp: str) -> None:
        host, colon, port = tcp.rpartition(":")
        if not colon or not port.isdigit():
            raise ValueError(f"tcp={tcp!r} is no address: write host:port")
        calls = {codec.number: MethodCalls(codec, self.operations) for codec in self._codecs}
        server = TcpServer(
            {**self._handlers, **calls},
            limits=self._limits,
            tls=self._tls,
            plain_text_beyond_loopback=self._plain,
            admit=self._admit,
            app=self.app,
            instance_id=self.instance_id,
            codecs=[codec.name for codec in self._codecs],
            contracts=self.operations.contracts,
        )
        await server.start(host.strip("[]"), int(port))
        self.tcp_server = server

    async def aclose(self, *, linger: timedelta = LINGER, grace: timedelta = GRACE) -> None:
        """Withdraws from the registry, drains and closes; see `TcpServer.aclose`."""
        if self.announcer is not None:
            await self.announcer.withdraw()  # first: callers need the time of the linger to hear of it
        if self.tcp_server is not None:
            await self.tcp_server.aclose(linger=linger, grace=grace)
        if self.announcer is not None:
            await self.announcer.aclose()
        for one in self._filters:
            await one.aclose()
        self._threads.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose(linger=timedelta())
