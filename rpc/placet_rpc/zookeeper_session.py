"""One session with ZooKeeper, awaited from an event loop. Needs the extra `zookeeper`.

kazoo lives in threads of its own. What it calls there (completions, watches, the state listener) does nothing but
hand over to the loop: a request made inside a state listener would wait for the very thread that it stops
(python-zk/kazoo 355, 356, 381).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import unquote, urlsplit

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionClosedError, ConnectionLoss, SessionExpiredError
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.retry import KazooRetry
from kazoo.security import make_acl, make_digest_acl

from placet_rpc.url_options import take_options

SESSION = timedelta(seconds=10)
ANSWER_TIMEOUT = timedelta(seconds=3)
RECONNECT_FIRST_SECONDS = 0.1
RECONNECT_CAP_SECONDS = 2.0
"""kazoo's own cap is an hour, by which time nobody expects the registry to come back."""


_kazoo_log = logging.getLogger("placet_rpc.zookeeper")
if _kazoo_log.level == logging.NOTSET:
    # kazoo warns of each attempt to connect; whoever holds a session says once that it is down, and why that matters.
    _kazoo_log.setLevel(logging.ERROR)


class Disconnected(Exception):
    """There is no connection, or the answer did not come. What was asked for may have been done or not."""


class ZooKeeperSession:
    """A session that is kept up: kazoo reconnects, and begins another session when the old one has expired.

    Args:
        hosts: `host:port,host:port`.
        session: how long ZooKeeper keeps ephemeral nodes of a client that it does not hear.
        credentials: `user:password` for the digest scheme. Nodes made with it are read by all and written by that
            user alone; without it they are written by all.

    Attributes:
        lifetime: the session's.
    """

    def __init__(self, hosts: str, *, session: timedelta = SESSION, credentials: str = "") -> None:
        self.lifetime = session
        self._loop = asyncio.get_running_loop()
        self._turned = asyncio.Event()
        handler = SequentialThreadingHandler()
        user, _, password = credentials.partition(":")
        acl = [make_digest_acl(user, password, all=True), make_acl("world", "anyone", read=True)]
        self._client = KazooClient(
            hosts,
            timeout=session.total_seconds(),
            handler=handler,
            logger=_kazoo_log,
            auth_data=[("digest", credentials)] if credentials else None,
            default_acl=acl if credentials else None,
            connection_retry=KazooRetry(
                max_tries=-1,
                delay=RECONNECT_FIRST_SECONDS,
                max_delay=RECONNECT_CAP_SECONDS,
                sleep_func=handler.sleep_func,
            ),
        )
        self._client.add_listener(lambda _state: self.hand_over(self._turned.set))
        self._started = False

    @property
    def session_id(self) -> int | None:
        """The id of the session, as nodes name their owner; None while there is no connection."""
        identity = self._client.client_id
        return None if identity is None else int(identity[0] or 0)

    @property
    def is_connected(self) -> bool:
        """True while requests would be sent."""
        return bool(self._client.connected)

    async def ready(self) -> None:
        """Connects if that was not done yet, and waits for a connection.

        Raises:
            Disconnected: there is none within `ANSWER_TIMEOUT`.
        """
        if not self._started:
            self._started = True
            self._client.start_async()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                while not self.is_connected:
                    self._turned.clear()
                    if not self.is_connected:
                        await self._turned.wait()
        except TimeoutError:
            raise Disconnected("no connection with ZooKeeper") from None

    async def ask(self, operation: str, *arguments: Any, **options: Any) -> Any:
        """Makes one request, such as `ask("create", path, data, ephemeral=True)`.

        Args:
            operation: name of a method of `KazooClient` that has an `_async` twin.
            arguments: of that method.
            options: of that method; a `watch` is called on kazoo's thread, so it may only `hand_over`.

        Raises:
            Disconnected: there is no answer.
            KazooException: ZooKeeper says no, by the type that kazoo has for it.
        """
        if not self.is_connected:
            raise Disconnected("the connection with ZooKeeper is lost")  # kazoo would keep the request for later
        future: asyncio.Future[Any] = self._loop.create_future()
        result = getattr(self._client, f"{operation}_async")(*arguments, **options)
        result.rawlink(lambda done: self.hand_over(_settle, future, done))
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT.total_seconds()):
                return await future
        except (ConnectionLoss, ConnectionClosedError, SessionExpiredError, TimeoutError) as error:
            raise Disconnected(f"no answer from ZooKeeper: {type(error).__name__}") from None

    def hand_over(self, callback: Callable[..., object], *arguments: Any) -> None:
        """Calls something on the event loop, from any thread; nothing, if the loop is closed."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(callback, *arguments)

    async def aclose(self) -> None:
        """Ends the session; its ephemeral nodes are gone at once, if ZooKeeper can be reached."""
        if self._started:
            await asyncio.to_thread(self._client.stop)
        await asyncio.to_thread(self._client.close)


def _settle(future: asyncio.Future[Any], done: Any) -> None:
    if future.done():
        return  # its caller has left
    if done.exception is not None:
        future.set_exception(done.exception)
    else:
        future.set_result(done.value)


def open_session(url: str, kind: str) -> tuple[ZooKeeperSession, str]:
    """Begins a session with `zookeeper://USER:PASSWORD@HOST:PORT,…/PATH?session_ms=…`; connects to nothing yet.

    Args:
        url: as above.
        kind: what is kept there, for messages.

    Returns:
        The session, and the path without a slash at its end.

    Raises:
        ValueError: it is no such URL.
    """
    address, options = take_options(url, {"session_ms": SESSION // timedelta(milliseconds=1)}, kind)
    parts = urlsplit(address)
    credentials, _, hosts = parts.netloc.rpartition("@")
    if not all(hosts.split(",")):
        raise ValueError("that is no ZooKeeper: write zookeeper://host:port,host:port/path")
    session = timedelta(milliseconds=options["session_ms"])
    return ZooKeeperSession(hosts, session=session, credentials=unquote(credentials)), parts.path.rstrip("/")


__all__ = ["ANSWER_TIMEOUT", "SESSION", "Disconnected", "ZooKeeperSession", "open_session"]
