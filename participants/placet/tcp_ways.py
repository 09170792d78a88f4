"""Where a coordinator answers over TCP: learnt from itself over HTTP, forgotten as soon as it fails."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from placet.errors import CoordinatorError
from placet_contract.nodes import HealthReply

REFRESH_SECONDS = 30.0
"""A way in use is asked about again this often, in the background."""

RETRY_SECONDS = 5.0
"""After a failure calls go over HTTP for this long before the way is asked about again."""

WAYS_MAX = 64
"""So many coordinators' ways are remembered; the others are called over HTTP."""

AskHealth = Callable[[str], Awaitable[HealthReply]]

_log = logging.getLogger("placet.tcp")


class _Way:
    """What is known of one base URL."""

    def __init__(self) -> None:
        self.tcp_url: str | None = None
        self.ask_at = 0.0


class TcpWays:
    """The TCP endpoints of coordinators by their base URLs. Nothing waits for it: until one is known, HTTP serves.

    Args:
        ask_health: asks at a base URL who answers there, and where over TCP.
    """

    def __init__(self, ask_health: AskHealth) -> None:
        self._ask_health = ask_health
        self._ways: dict[str, _Way] = {}
        self._looks: set[asyncio.Task[None]] = set()

    def tcp_url_of(self, base_url: str) -> str | None:
        """Returns where the coordinator at a base URL answers over TCP, None while that is not known."""
        way = self._ways.get(base_url)
        if way is None:
            if len(self._ways) >= WAYS_MAX:
                return None
            way = self._ways[base_url] = _Way()
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= way.ask_at:
            way.ask_at = now + REFRESH_SECONDS
            look = loop.create_task(self._look(base_url, way))
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        return way.tcp_url

    def failed(self, base_url: str) -> None:
        """Hears that the way could not be gone: calls go over HTTP for some seconds."""
        way = self._ways.get(base_url)
        if way is not None:
            way.tcp_url = None
            way.ask_at = asyncio.get_running_loop().time() + RETRY_SECONDS

    async def aclose(self) -> None:
        """Ends look-ups under way, and forgets everything."""
        self._ways = {}
        loop = asyncio.get_running_loop()
        looks = [look for look in self._looks if look.get_loop() is loop]
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)
        self._looks.clear()

    async def _look(self, base_url: str, way: _Way) -> None:
        try:
            tcp_url = (await self._ask_health(base_url)).tcp_url
        except (CoordinatorError, ValueError) as error:
            _log.info("%s is called over HTTP: %s", base_url, error)
            way.tcp_url, way.ask_at = None, asyncio.get_running_loop().time() + RETRY_SECONDS
            return
        way.tcp_url = tcp_url if tcp_url is not None and _is_as_safe(base_url, tcp_url) else None


def _is_as_safe(base_url: str, tcp_url: str) -> bool:
    """Says whether the token travels at least as protected over TCP as it was configured to."""
    wanted = ("tcps",) if urlsplit(base_url).scheme == "https" else ("tcp", "tcps")
    return urlsplit(tcp_url).scheme in wanted
