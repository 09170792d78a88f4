"""The transports of one client, and the way to an instance over the first that both sides have."""

import asyncio
import ssl
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Protocol

from placet_rpc.codecs import find_codecs
from placet_rpc.errors import RpcError
from placet_rpc.extension import find_extension
from placet_rpc.http import HttpClient
from placet_rpc.invocation import Invocation, Invoker
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.routes import HttpRoute, TcpRoute
from placet_rpc.tcp.client import SCHEMES as TCP_SCHEMES
from placet_rpc.tcp.client import TcpClient
from placet_rpc.tcp.limits import TcpLimits

HTTP_SCHEMES = ("http", "https")
PROBE_TIMEOUT = timedelta(seconds=1)

TRANSPORTS = "placet.rpc.transports"
"""Group of entry points for further schemes: `factory(to, *, app, codecs, tls, token) -> OtherTransport`."""
TRANSPORT_SPI_VERSION = 1
_BUILTIN = {**dict.fromkeys(TCP_SCHEMES, TcpClient), **dict.fromkeys(HTTP_SCHEMES, HttpClient)}


class OtherTransport(Invoker, Protocol):
    """A transport that an installed package offers under a scheme of its own. It keeps `Invocation.timeout_ms`.

    It may have an attribute `is_available`, as routes have.
    """

    async def aclose(self, wait: timedelta) -> None:
        """Closes its connections; calls under way get the time to end."""
        ...


class Transports:
    """TCP, HTTP and what installed packages bring, as one client uses them.

    Args:
        app: this application's name.
        codecs: the allow-list for TCP, by name, the preferred first.
        tls: context of `tcps` and `https` endpoints.
        limits: of the TCP transport.
        token: proof of identity for servers that ask for one.
        plain_text_beyond_loopback: allow `tcp` endpoints on other machines.
    """

    def __init__(
        self,
        *,
        app: str = "",
        codecs: Iterable[str] = ("msgpack", "json"),
        tls: ssl.SSLContext | None = None,
        limits: TcpLimits | None = None,
        token: str = "",
        plain_text_beyond_loopback: bool = False,
    ) -> None:
        self._codecs = find_codecs(codecs)
        self._app, self._tls, self._token = app, tls, token
        self._others: dict[str, OtherTransport] = {}
        self.tcp = TcpClient(
            limits=limits,
            tls=tls,
            app=app,
            token=token,
            codecs=[codec.name for codec in self._codecs],
            plain_text_beyond_loopback=plain_text_beyond_loopback,
        )
        self.http = HttpClient(tls=tls)

    def route(self, url: str) -> "TcpRoute | HttpRoute | OtherRoute":
        """Returns the way to an endpoint.

        Raises:
            ValueError: it is not a URL of one, or nothing offers its scheme.
        """
        scheme = url.partition("://")[0]
        if scheme in HTTP_SCHEMES:
            return HttpRoute(self.http, url)
        if scheme in TCP_SCHEMES:
            return TcpRoute(self.tcp, url, self._codecs)
        transport = self._others.get(url)
        if transport is None:
            factory = find_extension(TRANSPORTS, scheme, _BUILTIN, TRANSPORT_SPI_VERSION)
            transport = factory(url, app=self._app, codecs=self._codecs, tls=self._tls, token=self._token)
            self._others[url] = transport
        return OtherRoute(transport, url)

    def connect(self, endpoint: Endpoint) -> "TcpRoute | HttpRoute | OtherRoute | None":
        """Returns the way to an instance, by the first of its URLs that we have a transport for; None if there is none.

        Raises:
            ValueError: that is no URL of an endpoint.
        """
        own = endpoint.url(*TCP_SCHEMES, *HTTP_SCHEMES)
        if own is not None:
            return self.route(own)
        for url in endpoint.urls:
            try:
                return self.route(url)
            except ValueError:
                continue  # nobody here has that scheme; another URL may do
        return None

    async def probe(self, endpoint: Endpoint) -> bool:
        """Returns whether an instance answers, over the connections that calls use too.

        One that drains has said goodbye, so it does not answer, though its connections are still open.
        """
        url = endpoint.url(*TCP_SCHEMES, *HTTP_SCHEMES) or ""
        try:
            if url.partition("://")[0] in TCP_SCHEMES:
                link = self.tcp.link(url)
                await link.meet(PROBE_TIMEOUT // timedelta(milliseconds=1))
                return link.is_available
            # Whatever it says of this path, it is there; a gateway in front of one that is gone says 502 to 504.
            reply = await self.http.request("GET", url, timeout=PROBE_TIMEOUT)
        except (RpcError, ValueError):
            return False
        return reply.status < HTTPStatus.INTERNAL_SERVER_ERROR

    async def aclose(self, wait: timedelta = timedelta()) -> None:
        """Closes the connections.

        Args:
            wait: how long calls under way may still take.
        """
        others = (each.aclose(wait) for each in self._others.values())
        await asyncio.gather(self.tcp.aclose(wait), self.http.aclose(wait), *others)


class OtherRoute:
    """The way to one instance by the transport of an installed package.

    Attributes:
        endpoint: its URL.
        transport: of the package.
    """

    def __init__(self, transport: OtherTransport, endpoint: str) -> None:
        self.endpoint = endpoint
        self.transport = transport

    @property
    def is_available(self) -> bool:
        """As the transport says; one that does not say is."""
        return bool(getattr(self.transport, "is_available", True))

    async def invoke(self, call: Invocation) -> Any:
        """Makes the call."""
        return await self.transport.invoke(call)
