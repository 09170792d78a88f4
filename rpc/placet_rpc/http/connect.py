"""Opening a connection: resolve once, ask the policy about every answer, connect to those very addresses."""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

from placet_rpc.errors import ConnectFailed, TargetRefused
from placet_rpc.http.url import Origin

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

AllowAddresses = Callable[[str, Sequence[Address]], bool]
"""Asked before each connect with the host of the URL and all addresses it resolved to; False refuses the call.

IPv4 addresses mapped into IPv6 arrive unmapped. Ask about the addresses, not the text: resolvers take `127.1`,
`0x7f000001` and `2130706433` for loopback.
"""

MAX_LOOKUPS = 16  # threads; a name that hangs holds one of them per origin, see `Connector`

_Protocol = TypeVar("_Protocol")  # has the methods of `asyncio.Protocol`, if not its base


def _address(text: str) -> Address:
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


class Resolver:
    """Name lookups on threads of their own, so that a hung name server does not take the loop's default executor."""

    def __init__(self) -> None:
        self._threads: ThreadPoolExecutor | None = None

    async def addresses(self, host: str, port: int) -> list[Address]:
        """Returns the addresses of a host in the resolver's order; a literal needs no lookup.

        Raises:
            OSError: the lookup failed.
        """
        try:
            return [_address(host)]
        except ValueError:
            pass
        if self._threads is None:
            self._threads = ThreadPoolExecutor(MAX_LOOKUPS, thread_name_prefix="placet-lookup")
        loop = asyncio.get_running_loop()
        answers = await loop.run_in_executor(
            self._threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        )
        return list(dict.fromkeys(_address(str(answer[4][0])) for answer in answers))

    def close(self) -> None:
        """Lets the threads end; lookups that hang are not waited for."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


class Connector:
    """Opens connections to one origin.

    Connects that overlap share one lookup, and a lookup that hangs past their timeouts is waited for again rather
    than started again: one origin holds at most one thread.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        resolver: Resolver,
        allow: AllowAddresses | None,
        tls: ssl.SSLContext | None,
        timeout_seconds: float,
    ) -> None:
        self._origin = origin
        self._resolver = resolver
        self._allow = allow
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._lookup: asyncio.Task[list[Address]] | None = None

    async def open(self, factory: Callable[[], _Protocol]) -> _Protocol:
        """Opens a connection and returns its protocol.

        Raises:
            ConnectFailed: no address could be connected to within the timeout; `TargetRefused` if policy forbids it.
        """
        endpoint = str(self._origin)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                addresses = await self._addresses()
                if self._allow is not None and not self._allow(self._origin.host, addresses):
                    shown = ", ".join(map(str, addresses))
                    raise TargetRefused(f"calls to {shown} are not allowed by this client's policy", endpoint=endpoint)
                return await self._first(addresses, factory)
        except TimeoutError:
            raise ConnectFailed(f"no connection within {self._timeout_seconds:g} s", endpoint=endpoint) from None
        # ssl.SSLError and its certificate errors are OSErrors; a label that is empty or too long is a UnicodeError.
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(f"{type(error).__name__}: {error}", endpoint=endpoint) from error

    async def _addresses(self) -> list[Address]:
        if self._lookup is None:
            self._lookup = asyncio.create_task(self._resolver.addresses(self._origin.host, self._origin.port))
            self._lookup.add_done_callback(self._looked_up)
        return await asyncio.shield(self._lookup)

    def _looked_up(self, lookup: asyncio.Task[list[Address]]) -> None:
        self._lookup = None
        if not lookup.cancelled():
            lookup.exception()  # those who waited have it; nobody may be left to ask

    async def _first(self, addresses: list[Address], factory: Callable[[], _Protocol]) -> _Protocol:
        loop = asyncio.get_running_loop()
        made = cast("Callable[[], asyncio.Protocol]", factory)
        deadline_at = loop.time() + self._timeout_seconds
        tls_host = self._origin.host if self._tls is not None else None
        for left in range(len(addresses), 0, -1):
            address = addresses[-left]
            try:
                # Each address has an equal share of the time left, so that one black hole does not hide the next.
                async with asyncio.timeout((deadline_at - loop.time()) / left):
                    _, protocol = await loop.create_connection(
                        made, str(address), self._origin.port, ssl=self._tls, server_hostname=tls_host
                    )
                    return cast("_Protocol", protocol)
            except OSError:
                if left == 1:
                    raise
        raise OSError("the name has no address")
