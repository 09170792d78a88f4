"""The HTTP and TCP clients of the event loop in use: made at the first call, so that nothing runs at import."""

import asyncio
from datetime import timedelta

from placet_rpc import HttpClient, HttpLimits, Target
from placet_rpc.tcp import TcpClient, TcpLimits

_CLOSE_WAIT = timedelta(seconds=1)


class LoopClients:
    """Holds one `HttpClient` and one `TcpClient` for the running event loop.

    Args:
        max_reply_bytes: the longest reply that is taken.
    """

    def __init__(self, max_reply_bytes: int) -> None:
        self._max_reply_bytes = max_reply_bytes
        self._loop: asyncio.AbstractEventLoop | None = None
        self._http: HttpClient | None = None
        self._tcp: TcpClient | None = None

    def target(self, url: str, *, method: str = "POST", content_type: str | None = None) -> Target:
        """Prepares calls of an absolute URL, by the transport that its scheme names.

        Raises:
            RuntimeError: the clients belong to another loop, which still lives.
            ValueError: the URL can't be sent as it is.
        """
        self._enter_loop()
        headers = [("content-type", content_type)] if content_type else ()
        if url.startswith("tcp"):
            if self._tcp is None:
                self._tcp = TcpClient(limits=TcpLimits(max_message_bytes=self._max_reply_bytes), app="placet-sdk")
            return self._tcp.target(url, method=method, headers=headers)
        if self._http is None:
            self._http = HttpClient(limits=HttpLimits(max_reply_bytes=self._max_reply_bytes), user_agent="placet-sdk")
        return self._http.target(url, method=method, headers=headers)

    async def aclose(self) -> None:
        """Closes the connections; a later `target` opens new ones, in whatever loop runs then."""
        http, tcp, loop = self._http, self._tcp, self._loop
        self._http = self._tcp = self._loop = None
        if loop is not asyncio.get_running_loop():
            return
        if http is not None:
            await http.aclose(_CLOSE_WAIT)
        if tcp is not None:
            await tcp.aclose(_CLOSE_WAIT)

    def _enter_loop(self) -> None:
        loop = asyncio.get_running_loop()
        if self._loop is loop:
            return
        if self._loop is not None and not self._loop.is_closed():
            raise RuntimeError(
                "this object is in use in another event loop: make one per loop, close it there first, "
                "or use its sync twin from threads"
            )
        self._loop, self._http, self._tcp = loop, None, None
