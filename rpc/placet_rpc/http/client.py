"""The HTTP client that callers hold: one pool per origin, targets prepared once."""

import asyncio
import re
import ssl
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary, ref

from placet_rpc.http.connect import AllowAddresses, Connector, Resolver
from placet_rpc.http.counters import HttpCounters
from placet_rpc.http.headers import header_block
from placet_rpc.http.limits import HttpLimits
from placet_rpc.http.pool import Census, HttpPool
from placet_rpc.http.target import HttpTarget
from placet_rpc.http.url import Origin, split_url
from placet_rpc.transport import Reply

_METHOD = re.compile(r"[A-Z]+")
_UNSUPPORTED_METHODS = frozenset(("CONNECT", "HEAD"))  # their replies are framed by other rules
_ABORT_SECONDS = 1.0

Fields = Iterable[tuple[str | bytes, str | bytes]]


class _Handle:
    """Stands for a pool where it must be known whether anybody still holds it: compiled, the pool can't be asked."""

    __slots__ = ("__weakref__", "pool")

    def __init__(self) -> None:
        self.pool: HttpPool


class HttpClient:
    """A pooled HTTP/1.1 client for one event loop.

    It never follows redirects, never resends, ignores proxies of the environment, and checks certificates.

    Args:
        limits: the named limits.
        allow: policy asked before each connect, with the URL's host and the addresses it resolved to; the
            connection is then made to those addresses. None allows all.
        tls: the context of https connections; None takes Python's default, which checks certificate and host name.
        user_agent: sent with every request.

    Raises:
        RuntimeError: there is no running event loop.
    """

    def __init__(
        self,
        *,
        limits: HttpLimits | None = None,
        allow: AllowAddresses | None = None,
        tls: ssl.SSLContext | None = None,
        user_agent: str = "placet",
    ) -> None:
        asyncio.get_running_loop()
        self.limits = limits or HttpLimits()
        self.counters = HttpCounters()
        self._allow = allow
        self._tls = tls
        self._common_headers = header_block([("user-agent", user_agent)])
        self._resolver = Resolver()
        self._census = Census(self.limits, self.counters)
        # A pool lives as long as a target holds it or it has connections; so origins called once leave nothing.
        self._pools: WeakValueDictionary[Origin, _Handle] = WeakValueDictionary()

    def target(self, url: str, *, method: str = "POST", headers: Fields = ()) -> HttpTarget:
        """Prepares calls of one method and URL. Sends nothing.

        Args:
            url: an absolute http or https URL.
            method: in capitals; not HEAD or CONNECT.
            headers: fields sent with each call.

        Raises:
            ValueError: the URL, the method or a header can't be sent as it is; the message says why.
        """
        if not _METHOD.fullmatch(method) or method in _UNSUPPORTED_METHODS:
            raise ValueError(f"method {method!r} is not supported: use a plain method in capitals, such as POST")
        origin, path = split_url(url)
        block = self._common_headers + header_block(headers)
        handle = self._handle(origin)
        return HttpTarget(handle.pool, method, path, origin.authority, block, handle=handle)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Fields = (),
        body: bytes = b"",
        timeout: timedelta = timedelta(seconds=10),  # noqa: ASYNC109 - the pool's tick keeps it, without a task
    ) -> Reply:
        """Makes one call. Cancelling it gives the call up, and its connection.

        Args:
            method: in capitals; not HEAD or CONNECT.
            url: an absolute http or https URL.
            headers: fields of the request, but those of framing and connection.
            body: the request's body.
            timeout: the whole call's time, waiting for a connection included.

        Raises:
            ValueError: the request can't be sent as it is; nothing was sent.
            RpcError: there is no usable reply; `safety` says whether the request may have been executed.
        """
        milliseconds = timeout // timedelta(milliseconds=1)
        return await self.target(url, method=method, headers=headers).call(body, timeout_ms=milliseconds)

    @property
    def in_flight(self) -> int:
        """Calls written and without an outcome, over all origins."""
        return sum(pool.in_flight for pool in self._census.pools)

    async def aclose(self, wait: timedelta = timedelta()) -> None:
        """Closes the client: idle connections at once, waiting calls fail as NOT_SENT.

        Args:
            wait: how long calls under way may still take; then they fail as UNKNOWN.
        """
        self._census.is_closing = True
        for handle in list(self._pools.values()):
            handle.pool.close()
        self._resolver.close()
        if not await self._all_closed(wait.total_seconds()):
            for pool in list(self._census.pools):
                pool.abort()
            await self._all_closed(_ABORT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _all_closed(self, seconds: float) -> bool:
        self._census.note_closed()
        try:
            async with asyncio.timeout(seconds):
                await self._census.all_closed.wait()
        except TimeoutError:
            return False
        return True

    def _handle(self, origin: Origin) -> _Handle:
        handle = self._pools.get(origin)
        if handle is None:
            connector = Connector(
                origin,
                resolver=self._resolver,
                allow=self._allow,
                tls=self._context() if origin.scheme == "https" else None,
                timeout_seconds=self.limits.connect_timeout.total_seconds(),
            )
            handle = _Handle()
            handle.pool = HttpPool(origin, connector, self.limits, self.counters, self._census, handle=ref(handle))
            if self._census.is_closing:
                handle.pool.close()
            self._pools[origin] = handle  # whole: making the pool may fail
        return handle

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls
