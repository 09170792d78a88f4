"""The client of callers without an event loop.

with SyncClient(registry="redis://127.0.0.1:6379/0", app="batch") as client:
    reservation = client.reference(BlockingStock).reserve("A1", 2)
"""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from placet_rpc.client import Client
from placet_rpc.contract import ServiceSpec, service_of
from placet_rpc.invocation import Invocation
from placet_rpc.proxy import CallMaker, make_proxy
from placet_rpc.settings import MILLISECOND, Settings, checked, merged, of_method

_Service = TypeVar("_Service")


class SyncClient:
    """As `Client`, for callers without an event loop: interfaces of plain `def` methods.

    All its calls run on one loop in one background thread. In a forked child it starts anew by itself.

    Args:
        to: an endpoint, or several, as for `Client`.
        options: as for `Client`.
    """

    def __init__(self, to: str | Sequence[str] | None = None, **options: Any) -> None:
        self._make: Callable[[], Client] = lambda: Client(to, **options)
        self._app = str(options.get("app", ""))
        self._settings = checked(options.get("settings") or {}, "settings")
        if options.get("timeout") is not None:
            self._settings["timeout"] = options["timeout"]
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop
        self._client: Client

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
            methods: as for `Client.reference`.
            settings: as for `Client.reference`; what does not suit a method is an error of the first call.

        Raises:
            TypeError: the interface is no service, or is declared with `async def` (`Client` takes those), or a
                setting is unknown.
        """
        service = service_of(interface)
        of_service = checked(settings, service.key)
        of_methods = {name: checked(each, f"methods[{name!r}]") for name, each in (methods or {}).items()}
        timeouts_ms = {
            name: merged(method, (self._settings, of_service, of_method(method), of_methods.get(name, Settings())))[
                "timeout"
            ]
            // MILLISECOND
            for name, method in service.methods.items()
        }
        late = _Late(self, service, of_methods, of_service)
        maker = CallMaker(service, late, caller=self._app, timeouts_ms=timeouts_ms)
        proxy: _Service = make_proxy(service, maker, self._wait)
        return proxy

    def override(self, service: str, method: str = "", **settings: Unpack[Settings]) -> None:
        """As `Client.override`."""

        async def override() -> None:
            self._client.override(service, method, **settings)

        self._wait(override())

    def client_here(self) -> Client:
        """Returns the client that runs on the background loop; only for use there."""
        return self._client

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

    def __init__(
        self, client: SyncClient, service: ServiceSpec, methods: Mapping[str, Settings], settings: Settings
    ) -> None:
        self._client, self._service, self._methods, self._settings = client, service, methods, settings

    async def invoke(self, call: Invocation) -> Any:
        """Makes the call."""
        invoker, _ = self._client.client_here().invoker(self._service, self._methods, self._settings)
        return await invoker.invoke(call)


def _run_loop(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
