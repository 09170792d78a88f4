"""The TCP server: listens, bounds, drains. What requests mean is its handlers' business."""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from placet_rpc.frames import GoAway, Hello
from placet_rpc.tcp.counters import TcpServerCounters
from placet_rpc.tcp.limits import TcpServerLimits
from placet_rpc.tcp.serving import IncomingCall, ServerConnection

TICK_SECONDS = 0.5
_CLOSE_SECONDS = 1.0

Handler = Callable[[IncomingCall], None]
"""Runs the requests of one codec: answers with `respond` or `refuse`, before or after it returns; must not block."""

Admit = Callable[[Hello, tuple[str, ...]], str]
"""From a client's HELLO and the URIs of its checked certificate to a refusal in words, or nothing."""

LINGER = timedelta(seconds=5)
GRACE = timedelta(seconds=30)


class TcpServer:
    """A server of the multiplexed TCP transport, for one event loop.

    Args:
        handlers: by codec number (`placet_rpc.frames`), see `http_calls` and `placet_rpc.server`.
        limits: the named limits.
        tls: the context, see `placet_rpc.tcp.tls`; with it clients connect to `tcps://…`.
        plain_text_beyond_loopback: allow other machines to connect without TLS; everybody on the way can then read
            and change calls.
        admit: looks at each client.
        app: this application's name, told to clients.
        instance_id: of this process, told to clients.
        codecs: names of those that the handlers take, told to clients.
        contracts: hash of the contract per service, told to clients.

    Attributes:
        port: where it listens, once started.
        counters: plain integers.
    """

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        *,
        limits: TcpServerLimits | None = None,
        tls: ssl.SSLContext | None = None,
        plain_text_beyond_loopback: bool = False,
        admit: Admit | None = None,
        app: str = "",
        instance_id: str = "",
        codecs: Sequence[str] = (),
        contracts: Mapping[str, str] | None = None,
    ) -> None:
        self.handlers = dict(handlers)
        self.limits = limits or TcpServerLimits()
        self.counters = TcpServerCounters()
        self.port = 0
        self.push_back_ms = self.limits.push_back // timedelta(milliseconds=1)
        self.connections: set[ServerConnection] = set()
        self.is_draining = False
        self.loop: asyncio.AbstractEventLoop
        self.hello = Hello(
            codecs=list(codecs),
            app=app,
            instance_id=instance_id,
            max_in_flight=self.limits.max_in_flight,
            max_message_bytes=self.limits.max_message_bytes,
            contracts=dict(contracts or {}),
        )
        self._tls = tls
        self._plain_text_beyond_loopback = plain_text_beyond_loopback
        self._admit = admit
        self._server: asyncio.Server | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._all_closed = asyncio.Event()

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listens.

        Args:
            host: an address of this machine.
            port: 0 takes a free one; see `port`.

        Raises:
            ValueError: without TLS it listens on loopback only.
            OSError: the address can't be listened on.
        """
        if self._tls is None and not self._plain_text_beyond_loopback and not _is_loopback(host):
            raise ValueError(
                f"{host} is not a loopback address: give the server tls=…, or accept plain text with"
                " plain_text_beyond_loopback=True"
            )
        self.loop = asyncio.get_running_loop()
        self._server = await self.loop.create_server(
            lambda: ServerConnection(self), host, port, ssl=self._tls, backlog=2048
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)

    async def aclose(self, *, linger: timedelta = LINGER, grace: timedelta = GRACE) -> None:
        """Drains and closes. Take the instance out of the registry before.

        Clients are warned, requests are taken for `linger` more, then refused as NOT_EXECUTED while those under way
        end; what is left after `grace` is cancelled.

        Args:
            linger: how long callers may need to hear that this instance is gone.
            grace: for requests under way; choose it above the longest call.
        """
        if self._server is None:
            return
        self.is_draining = True
        for connection in tuple(self.connections):
            connection.warn(GoAway.SHUTDOWN)
        if self.connections and linger:
            await self._wait_closed(linger.total_seconds())
        self._server.close()
        for connection in tuple(self.connections):
            connection.stop_taking(GoAway.SHUTDOWN)
        if not await self._wait_closed(grace.total_seconds()):
            for connection in tuple(self.connections):
                connection.stop_calls()
                connection.finish()
            if not await self._wait_closed(_CLOSE_SECONDS):
                for connection in tuple(self.connections):
                    connection.transport.abort()
        if self._timer is not None:
            self._timer.cancel()
        await self._wait_closed(_CLOSE_SECONDS)
        self._server = None

    # -- the connections' side ---------------------------------------------------------------------------------

    def refusal_of(self, connection: ServerConnection, peer: Hello) -> str:
        """Says why a client is not served, or nothing."""
        if len(self.connections) > self.limits.max_connections:
            return f"max_connections ({self.limits.max_connections}) are open"
        return self._admit(peer, connection.identity) if self._admit is not None else ""

    def forget(self, connection: ServerConnection) -> None:
        """A connection is closed."""
        self.connections.discard(connection)
        if not self.connections:
            self._all_closed.set()

    # -- inside ------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Ends connections that are silent or old."""
        now = self.loop.time()
        limits = self.limits
        for connection in tuple(self.connections):
            age = now - connection.made_at
            if now - connection.read_at > connection.silent_seconds and not connection.reading_paused:
                connection.transport.abort()
            elif connection.warned_at is None:
                if age > connection.max_age_seconds:
                    connection.warn(GoAway.AGE)
            elif self.is_draining or not connection.is_taking:
                continue  # `aclose` says when, or it was said
            elif now - connection.warned_at > limits.age_grace.total_seconds():
                connection.stop_taking(GoAway.AGE)
        self._timer = self.loop.call_later(TICK_SECONDS, self._tick)

    async def _wait_closed(self, seconds: float) -> bool:
        self._all_closed.clear()
        if not self.connections:
            return True
        try:
            async with asyncio.timeout(seconds):
                await self._all_closed.wait()
        except TimeoutError:
            return False
        return True


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
