"""The clients that callers of services hold.

async with Client("tcp://127.0.0.1:20880", app="order") as client:
    stock = client.reference(Stock)        # typed as Stock
    reservation = await stock.reserve("A1", 2)
"""

import asyncio
import os
import ssl
import threading
from collections.abc import Callable, Coroutine, Iterable
from datetime import timedelta
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from placet_rpc.codecs import find_codecs
from placet_rpc.contract import service_of
from placet_rpc.extension import find_extension
from placet_rpc.http import HttpClient
from placet_rpc.inproc import InprocRoute
from placet_rpc.invocation import Invoker
from placet_rpc.proxy import CallMaker, make_proxy
from placet_rpc.server import Server
from placet_rpc.tcp.client import TcpClient
from placet_rpc.tcp.limits import TcpLimits
from placet_rpc.transports import Transports

_Service = TypeVar("_Service")

TIMEOUT = timedelta(seconds=3)

TRANSPORTS = "placet.rpc.transports"
"""Group of entry points for further schemes: `factory(to, *, app, codecs, tls, token) -> OtherTransport`."""
TRANSPORT_SPI_VERSION = 1
_BUILTIN = {"tcp": TcpClient, "tcps": TcpClient, "http": HttpClient, "https": HttpClient}


class OtherTransport(Invoker, Protocol):
    """A transport that an installed package offers under a scheme of its own."""

    async def aclose(self, wait: timedelta) -> None:
        """Closes its connections; calls under way get the time to end."""
        ...


class Client:
    """Calls services, from one event loop.

    Args:
        to: `tcp://host:port`, `tcps://host:port`, `http(s)://host/path` where services are mounted, a URL of a scheme
            that an installed package offers (`TRANSPORTS`), a `Server` in this process, or an `Invoker` of your own
            (a cluster, a chain of filters).
        app: this application's name.
        timeout: of calls whose method says none.
        codecs: the allow-list for TCP, by name, the preferred first.
        tls: context of `tcps` and `https` endpoints.
        limits: of the TCP transport.
        token: proof of identity for servers that ask for one.
        plain_text_beyond_loopback: allow `tcp` endpoints on other machines.
    """

    def __init__(
        self,
        to: "str | Server | Invoker",
        *,
        app: str = "",
        timeout: timedelta = TIMEOUT,
        codecs: Iterable[str] = ("msgpack", "json"),
        tls: ssl.SSLContext | None = None,
        limits: TcpLimits | None = None,
        token: str = "",
        plain_text_beyond_loopback: bool = False,
    ) -> None:
        self.app = app
        self._timeout_ms = timeout // timedelta(milliseconds=1)
        self.transports: Transports | None = None
        self._other: OtherTransport | None = None
        if isinstance(to, Server):
            self.invoker: Invoker = InprocRoute(to)
        elif not isinstance(to, str):
            self.invoker = to
        elif to.partition("://")[0] in _BUILTIN:
            self.transports = Transports(
                app=app,
                codecs=codecs,
                tls=tls,
                limits=limits,
                token=token,
                plain_text_beyond_loopback=plain_text_beyond_loopback,
            )
            self.invoker = self.transports.route(to)
        else:
            transport = find_extension(TRANSPORTS, to.partition("://")[0], _BUILTIN, TRANSPORT_SPI_VERSION)
            self.invoker = self._other = transport(to, app=app, codecs=find_codecs(codecs), tls=tls, token=token)

    def reference(self, interface: Callable[..., _Service]) -> _Service:
        """Returns a proxy of a service, typed as its interface. Sends nothing.

        Raises:
            TypeError: the interface is no service, or is declared with plain `def` (`SyncClient` takes those).
        """
        service = service_of(interface)
        maker = CallMaker(service, self.invoker, caller=self.app, timeout_ms=self._timeout_ms)
        proxy: _Service = make_proxy(service, maker)
        return proxy

    async def aclose(self, wait: timedelta = timedelta()) -> None:
        """Closes the client's own connections.

        Args:
            wait: how long calls under way may still take.
        """
        if self.transports is not None:
            await self.transports.aclose(wait)
        if self._other is not None:
            await self._other.aclose(wait)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class SyncClient:
    """As `Client`, for callers without an event loop: interfaces of plain `def` methods.

    All its calls run on one loop in one background thread. In a forked child it starts anew by itself.

    Args:
        to: an endpoint, as for `Client`.
        options: as for `Client`.
    """

    def __init__(self, to: str, **options: Any) -> None:
        self._make: Callable[[], Client] = lambda: Client(to, **options)
        self._app = str(options.get("app", ""))
        self._timeout_ms = options.get("timeout", TIMEOUT) // timedelta(milliseconds=1)
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop
        self._client: Client

    def reference(self, interface: Callable[..., _Service]) -> _Service:
        """Returns a proxy of a service, typed as its interface. Sends nothing.

        Raises:
            TypeError: the interface is no service, or is declared with `async def` (`Client` takes those).
        """
        service = service_of(interface)
        maker = CallMaker(service, _Late(self), caller=self._app, timeout_ms=self._timeout_ms)
        proxy: _Service = make_proxy(service, maker, self._wait)
        return proxy

    async def invoke_here(self, call: Any) -> Any:
        """Makes a call, on the background loop."""
        return await self._client.invoker.invoke(call)

    def close(self) -> None:
        """Closes the connections and ends the thread."""
        if self._pid != os.getpid():
            return
        self._pid = 0
        asyncio.run_coroutine_threadsafe(self._client.aclose(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, call: Coroutine[Any, Any, Any]) -> Any:
        if self._pid != os.getpid():
            self._start()
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of this thread gives the call up
            raise

    def _start(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=_run_loop, args=(self._loop,), name="placet-rpc", daemon=True)
            self._thread.start()

            async def make() -> Client:
                return self._make()

            self._client = asyncio.run_coroutine_threadsafe(make(), self._loop).result()
            self._pid = os.getpid()


class _Late:
    """The invoker of a proxy whose client is made at the first call."""

    def __init__(self, client: SyncClient) -> None:
        self._client = client

    async def invoke(self, call: Any) -> Any:
        """Makes the call."""
        return await self._client.invoke_here(call)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
