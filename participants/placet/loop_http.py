"""The HTTP client of the event loop in use: made at the first call, so that nothing runs at import."""

import asyncio
from datetime import timedelta

from placet_rpc import HttpClient, HttpLimits

_CLOSE_WAIT = timedelta(seconds=1)


class LoopHttp:
    """Holds one `HttpClient` for the running event loop.

    Args:
        limits: the client's limits.
    """

    def __init__(self, limits: HttpLimits | None = None) -> None:
        self._limits = limits
        self._http: HttpClient | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def get(self) -> HttpClient:
        """Returns the client of the running loop.

        Raises:
            RuntimeError: it belongs to another loop, which still lives.
        """
        loop = asyncio.get_running_loop()
        if self._http is None or self._loop is not loop:
            if self._http is not None and self._loop is not None and not self._loop.is_closed():
                raise RuntimeError(
                    "this object is in use in another event loop: make one per loop, close it there first, "
                    "or use its sync twin from threads"
                )
            self._http = HttpClient(limits=self._limits, user_agent="placet-sdk")
            self._loop = loop
        return self._http

    async def aclose(self) -> None:
        """Closes the connections; a later `get` opens a new client, in whatever loop runs then."""
        http, self._http = self._http, None
        if http is not None and self._loop is asyncio.get_running_loop():
            await http.aclose(_CLOSE_WAIT)
