"""The HTTP client that callers hold: one pool per origin, targets prepared once."""

import asyncio
import re
import ssl
from collections.abc import Iterable
from datetime import timedelta
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from placet_rpc.http.connect import AllowAddresses, Connector, Resolver
from placet_rpc.http.counters import HttpCounters
from placet_rpc.http.headers import NO_HEADERS, header_block
from placet_rpc.http.limits import HttpLimits
from placet_rpc.http.pool import Census, HttpPool
from placet_rpc.http.url import Origin, split_url
from placet_rpc.transport import Completion, Reply

_METHOD = re.compile(r"[A-Z]+")
_UNSUPPORTED_METHODS = frozenset(("CONNECT", "HEAD"))  # their replies are framed by other rules
_METHODS_WITHOUT_BODY = frozenset(("DELETE", "GET", "OPTIONS"))
_ABORT_SECONDS = 1.0

Fields = Iterable[tuple[str | bytes, str | bytes]]


class HttpTarget:
    """One method and URL with its constant header fields; satisfies `placet_rpc.transport.Target`.

    Made by `HttpClient.target`; keep it as long as calls are made, and let go of it when they are not.
    """

    __slots__ = ("_create_future", "_end_of_head", "_head", "_send", "endpoint", "pool")

    def __init__(self, pool: HttpPool, method: str, path: str, authority: str, headers: bytes) -> None:
        self.pool = pool
        self.endpoint = pool.endpoint
        self._head = f"{method} {path} HTTP/1.1\r\nhost: {authority}\r\n".encode("ascii") + headers
        self._end_of_head = b"\r\n" if method in _METHODS_WITHOUT_BODY else b"content-length: 0\r\n\r\n"
        self._send = pool.send
        self._create_future = asyncio.get_running_loop().create_future

    def send(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int, completion: Completion) -> None:
        """Sends one request; the completion takes a `Reply` or an `RpcError`. Never raises for the network's sake.

        Args:
            body: the request's body.
            headers: fields of this call, from `header_block` or `HeaderTemplate.fill`.
            timeout_ms: the whole call's time, waiting for a connection included; kept to within 20 ms.
            completion: takes the outcome; may be called before `send` returns.
        """
        if body:
            message = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, headers, len(body), body)
        else:
            message = b"%b%b%b" % (self._head, headers, self._end_of_head)
        self._send(message, timeout_ms, completion)

    def call(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int) -> asyncio.Future[Reply]:
        """As `send`, with a future; cancelling it gives the call up.

        The future raises `RpcError`; its `safety` says whether the request may have been executed.
        """
        future: asyncio.Future[Reply] = self._create_future()
        self.send(body, headers, timeout_ms=timeout_ms, completion=future)
        return future


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
        self._pools: WeakValueDictionary[Origin, HttpPool] = WeakValueDictionary()
        self._closed = False

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
        return HttpTarget(self._pool(origin), method, path, origin.authority, block)

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
        self._closed = True
        for pool in list(self._pools.values()):
            pool.close()
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

    def _pool(self, origin: Origin) -> HttpPool:
        pool = self._pools.get(origin)
        if pool is None:
            connector = Connector(
                origin,
                resolver=self._resolver,
                allow=self._allow,
                tls=self._context() if origin.scheme == "https" else None,
                timeout_seconds=self.limits.connect_timeout.total_seconds(),
            )
            pool = HttpPool(origin, connector, self.limits, self.counters, self._census)
            if self._closed:
                pool.close()
            self._pools[origin] = pool
        return pool

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls
