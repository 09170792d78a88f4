"""The TCP client that callers hold: one link per endpoint, targets prepared once."""

import asyncio
import re
import ssl
from collections.abc import Iterable, Sequence
from datetime import timedelta
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

from placet_rpc.frames import CODEC_HTTP, Hello
from placet_rpc.frames.call import HttpCallTemplate
from placet_rpc.http.connect import Address, AllowAddresses, Connector, Resolver
from placet_rpc.http.headers import NO_HEADERS, header_block
from placet_rpc.http.url import Origin, split_url
from placet_rpc.tcp.counters import TcpCounters
from placet_rpc.tcp.limits import TcpLimits
from placet_rpc.tcp.link import TcpLink
from placet_rpc.transport import Completion, Reply

SCHEMES = ("tcp", "tcps")
_METHOD = re.compile(r"[A-Z]+")
_ABORT_SECONDS = 1.0

Fields = Iterable[tuple[str | bytes, str | bytes]]


class TcpTarget:
    """One HTTP method and target at one endpoint; satisfies `placet_rpc.transport.Target`.

    The server runs the request as it would run the same one over HTTP, and answers with its status, fields and body.
    """

    __slots__ = ("_create_future", "_fill", "_send", "endpoint", "link")

    def __init__(self, link: TcpLink, method: str, target: str, fields: bytes) -> None:
        self.link = link
        self.endpoint = link.endpoint
        self._send = link.send
        self._fill = HttpCallTemplate(method, target, fields).fill
        self._create_future = link.loop.create_future

    def send(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int, completion: Completion) -> None:
        """Sends one request; the completion takes a `Reply` or an `RpcError`. Never raises for the network's sake.

        Args:
            body: the request's body.
            headers: fields of this call, from `header_block` or `HeaderTemplate.fill`.
            timeout_ms: the whole call's time, waiting for a connection included; kept to within 20 ms.
            completion: takes the outcome; may be called before `send` returns.
        """
        self._send(CODEC_HTTP, self._fill(headers), body, timeout_ms, completion)

    def call(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int) -> asyncio.Future[Reply]:
        """As `send`, with a future; cancelling it gives the call up and tells the server.

        The future raises `RpcError`; its `safety` says whether the request may have been executed.
        """
        future: asyncio.Future[Reply] = self._create_future()
        self._send(CODEC_HTTP, self._fill(headers), body, timeout_ms, future)
        return future


class TcpClient:
    """A client of the multiplexed TCP transport, for one event loop: one connection per endpoint.

    It never resends. Without TLS it connects to loopback addresses only, unless told otherwise.

    Args:
        limits: the named limits.
        allow: policy asked before each connect, with the host and the addresses it resolved to. None allows all.
        tls: the context of `tcps` endpoints, see `placet_rpc.tcp.tls`; None takes one that checks as a browser does.
        plain_text_beyond_loopback: allow `tcp` endpoints on other machines; everybody on the way can then read and
            change calls.
        app: this application's name, told to servers.
        instance_id: of this process, told to servers.
        token: proof of identity for servers that ask for one.
        codecs: names told to servers, the preferred first.

    Raises:
        RuntimeError: there is no running event loop.
    """

    def __init__(
        self,
        *,
        limits: TcpLimits | None = None,
        allow: AllowAddresses | None = None,
        tls: ssl.SSLContext | None = None,
        plain_text_beyond_loopback: bool = False,
        app: str = "",
        instance_id: str = "",
        token: str = "",
        codecs: Sequence[str] = ("msgpack", "json"),
    ) -> None:
        asyncio.get_running_loop()
        self.limits = limits or TcpLimits()
        self.counters = TcpCounters()
        self._allow = allow
        self._tls = tls
        self._plain_text_beyond_loopback = plain_text_beyond_loopback
        self._hello = Hello(
            codecs=list(codecs),
            app=app,
            instance_id=instance_id,
            token=token,
            max_in_flight=self.limits.max_in_flight,
            max_message_bytes=self.limits.max_message_bytes,
            ping_interval_ms=self.limits.ping_interval // timedelta(milliseconds=1),
        )
        self._resolver = Resolver()
        # A link lives as long as a target holds it, or its connection or timer does.
        self._links: WeakValueDictionary[Origin, TcpLink] = WeakValueDictionary()
        self._closed = False

    def target(self, url: str, *, method: str = "POST", headers: Fields = ()) -> TcpTarget:
        """Prepares calls of one HTTP method and URL. Sends nothing.

        Args:
            url: an absolute URL with port, such as `tcp://127.0.0.1:8471/v1/transactions`, or `tcps://…` over TLS.
            method: in capitals.
            headers: fields sent with each call.

        Raises:
            ValueError: the URL, the method or a header can't be sent as it is; the message says why.
        """
        if not _METHOD.fullmatch(method):
            raise ValueError(f"method {method!r} is not supported: use a plain method in capitals, such as POST")
        origin, path = split_url(url, SCHEMES)
        return TcpTarget(self._link(origin), method, path, header_block(headers))

    def link(self, url: str) -> TcpLink:
        """Returns the way to an endpoint, for callers that encode their own requests (`proxy`).

        Raises:
            ValueError: it is not a URL of an endpoint.
        """
        return self._link(split_url(url, SCHEMES)[0])

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Fields = (),
        body: bytes = b"",
        timeout: timedelta = timedelta(seconds=10),  # noqa: ASYNC109 - the link's tick keeps it, without a task
    ) -> Reply:
        """Makes one call. Cancelling it gives the call up and tells the server.

        Raises:
            ValueError: the request can't be sent as it is; nothing was sent.
            RpcError: there is no usable reply; `safety` says whether the request may have been executed.
        """
        milliseconds = timeout // timedelta(milliseconds=1)
        return await self.target(url, method=method, headers=headers).call(body, timeout_ms=milliseconds)

    @property
    def in_flight(self) -> int:
        """Calls queued on a connection and without an outcome, over all endpoints."""
        return sum(link.in_flight for link in list(self._links.values()))

    async def aclose(self, wait: timedelta = timedelta()) -> None:
        """Closes the client: waiting calls fail as NOT_SENT.

        Args:
            wait: how long calls under way may still take; then they are cancelled and fail, as UNKNOWN if written.
        """
        self._closed = True
        links = list(self._links.values())
        for link in links:
            link.close()
        self._resolver.close()
        if not await _all_gone(links, wait.total_seconds()):
            for link in links:
                link.abort()
            await _all_gone(links, _ABORT_SECONDS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _link(self, origin: Origin) -> TcpLink:
        link = self._links.get(origin)
        if link is None:
            is_secure = origin.scheme == "tcps"
            connector = Connector(
                origin,
                resolver=self._resolver,
                allow=self._allow if is_secure else self._allow_plain,
                tls=self._context() if is_secure else None,
                timeout_seconds=self.limits.connect_timeout.total_seconds(),
            )
            link = TcpLink(str(origin), connector, self.limits, self.counters, self._hello)
            if self._closed:
                link.close()
            self._links[origin] = link
        return link

    def _allow_plain(self, host: str, addresses: Sequence[Address]) -> bool:
        if not self._plain_text_beyond_loopback and not all(address.is_loopback for address in addresses):
            return False
        return self._allow is None or self._allow(host, addresses)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


async def _all_gone(links: list[TcpLink], seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            for link in links:
                await link.all_gone()
    except TimeoutError:
        return False
    return True
