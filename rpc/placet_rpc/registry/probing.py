"""Whether an instance answers, asked by the transports that calls would take."""

from datetime import timedelta
from http import HTTPStatus

from placet_rpc.errors import RpcError
from placet_rpc.http import HttpClient
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.tcp.client import TcpClient

_TIMEOUT = CacheSettings().probe_timeout
_TIMEOUT_MS = _TIMEOUT // timedelta(milliseconds=1)


class TransportProbe:
    """A probe (`Probe`) by the clients whose connections the calls use too.

    An instance that drains has said goodbye, so it does not answer, though its connections are still open.

    Args:
        tcp: for `tcp` and `tcps` URLs.
        http: for `http` and `https` URLs.
    """

    def __init__(self, tcp: TcpClient, http: HttpClient) -> None:
        self._tcp, self._http = tcp, http

    async def __call__(self, endpoint: Endpoint) -> bool:
        """Returns whether the instance answers by the first of its URLs that can be asked."""
        tcp = endpoint.url("tcp", "tcps")
        try:
            if tcp is not None:
                link = self._tcp.link(tcp)
                await link.meet(_TIMEOUT_MS)
                return link.is_available
            http = endpoint.url("http", "https")
            if http is None:
                return False
            # Whatever it says of this path, it is there; a gateway in front of one that is gone says 502 to 504.
            reply = await self._http.request("GET", http, timeout=_TIMEOUT)
        except (RpcError, ValueError):
            return False
        return reply.status < HTTPStatus.INTERNAL_SERVER_ERROR
