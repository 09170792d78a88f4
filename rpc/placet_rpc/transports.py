"""The transports of one client, and the way to an instance over the first that both sides have."""

import ssl
from collections.abc import Iterable
from datetime import timedelta
from http import HTTPStatus

from placet_rpc.codecs import find_codecs
from placet_rpc.errors import RpcError
from placet_rpc.http import HttpClient
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.routes import HttpRoute, TcpRoute
from placet_rpc.tcp.client import SCHEMES as TCP_SCHEMES
from placet_rpc.tcp.client import TcpClient
from placet_rpc.tcp.limits import TcpLimits

HTTP_SCHEMES = ("http", "https")
PROBE_TIMEOUT = timedelta(seconds=1)


class Transports:
    """TCP and HTTP, as one client uses them.

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
        self.tcp = TcpClient(
            limits=limits,
            tls=tls,
            app=app,
            token=token,
            codecs=[codec.name for codec in self._codecs],
            plain_text_beyond_loopback=plain_text_beyond_loopback,
        )
        self.http = HttpClient(tls=tls)

    def route(self, url: str) -> TcpRoute | HttpRoute:
        """Returns the way to an endpoint.

        Raises:
            ValueError: it is not a URL of one.
        """
        if url.partition("://")[0] in HTTP_SCHEMES:
            return HttpRoute(self.http, url)
        return TcpRoute(self.tcp, url, self._codecs)

    def connect(self, endpoint: Endpoint) -> TcpRoute | HttpRoute | None:
        """Returns the way to an instance, by the first of its URLs that we have a transport for; None if there is none.

        Raises:
            ValueError: that is no URL of an endpoint.
        """
        url = endpoint.url(*TCP_SCHEMES, *HTTP_SCHEMES)
        return None if url is None else self.route(url)

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
        await self.tcp.aclose(wait)
        await self.http.aclose(wait)
