"""`placet server`: the coordinator behind uvicorn, on one event loop, drained when it is asked to stop."""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
import uvicorn
import uvloop
from sqlalchemy.exc import SQLAlchemyError

from placet_coordinator import native
from placet_coordinator.api.entrance import HotLane
from placet_coordinator.bootstrap import Node, running, serving_tcp
from placet_coordinator.config import (
    DEFAULT_DATABASE_URL,
    TOKEN_LENGTH_ADVISED,
    Settings,
    SettingsRefused,
    load_settings,
)
from placet_coordinator.observability.logs import configure_logs
from placet_coordinator.observability.metrics import build_version
from placet_coordinator.ports.store import StoreError
from placet_coordinator.store.factory import DriverMissing
from placet_migrations import UpgradeBusy
from placet_rpc.http.fast_lane import fast_lane

KEEP_ALIVE_S = 65
"""Longer than the idle time of common clients and proxies (60 s), so that it is they who close an idle connection."""
BACKLOG = 2_048
GC_THRESHOLDS = (20_000, 20, 50)
"""Young collections at every 20,000 allocations instead of 700: nearly everything here dies by its reference count."""

SWITCH_INTERVAL_S = 0.0005
"""A thread that waits for the interpreter gets it so soon, instead of in 5 ms: SQLite's writer needs it several times a
batch, for microseconds, while the loop answers the callers of the batch before."""

_INTERRUPTED = 130
_STOPPING = (signal.SIGINT, signal.SIGTERM)

_log = structlog.get_logger("placet.server")


class _Server(uvicorn.Server):
    """uvicorn, which tells the node to drain before it stops accepting."""

    def __init__(self, config: uvicorn.Config, node: Node, stop_tcp: Callable[[], Coroutine[Any, Any, None]]) -> None:
        super().__init__(config)
        self._node, self._stop_tcp = node, stop_tcp

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Turn SIGINT and SIGTERM into a stop, and no more than that.

        uvicorn's own raises the signal once more when it has stopped, which would end the process before the last
        writes are made and the lease is released. A second signal, while that goes on, ends it at once.
        """
        loop = asyncio.get_running_loop()
        for number in _STOPPING:
            loop.add_signal_handler(number, self.handle_exit, number, None)
        try:
            yield
        finally:
            for number in _STOPPING:
                loop.remove_signal_handler(number)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain: `/readyz` says 503, waiters are answered, then connections end as their requests do.

        HTTP and TCP drain at the same time: PLACET_DRAIN is what both together may take.
        """
        self._node.drain()
        async with asyncio.TaskGroup() as group:
            stopping_tcp = group.create_task(self._stop_tcp())
            await super().shutdown(sockets)
            if self.force_exit:
                stopping_tcp.cancel()  # asked twice: neither door is waited for


def serve(*, host: str | None, port: int | None, database_url: str | None, migrate: bool) -> int:
    """Serve until a signal; return the exit code."""
    try:
        settings = load_settings(host=host, port=port, database_url=database_url)
    except SettingsRefused as refused:
        return _refused(str(refused))
    configure_logs(log_format=settings.log_format, level=settings.log_level)
    try:
        listener = _bound(settings)
    except OSError as error:
        return _refused(
            f"{settings.host} port {settings.port} can't be bound: {error.strerror or error}; "
            "stop what listens there, or choose another by --port"
        )
    settings = settings.model_copy(update={"port": listener.getsockname()[1]})
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_served(settings, listener, migrate=migrate))
        except (StoreError, DriverMissing, UpgradeBusy, ValueError) as error:
            return _refused(str(error))
        except SQLAlchemyError as error:
            return _refused(f"the schema can't be brought up: {error.__cause__ or error}; run: placet doctor")
        except KeyboardInterrupt:
            return _INTERRUPTED
    return 0


async def _served(settings: Settings, listener: socket.socket, *, migrate: bool) -> None:
    _say_what_is_unusual(settings)
    async with running(settings, migrate=migrate) as node, serving_tcp(node, settings) as stop_tcp:
        config = uvicorn.Config(
            node.app,
            http=fast_lane(HotLane(node.app.lane).routes),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            backlog=BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(settings.drain.total_seconds())),
        )
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        server = _Server(config, node, stop_tcp)
        _log.info(
            "serving",
            url=settings.base_url,
            tcp=node.app.health.tcp_url or "off",
            database=settings.shown_database_url,
            node=settings.node_name,
            version=build_version(),
            runs=native.described(),
        )
        await server.serve(sockets=[listener])
        _log.info("stopped serving; making the last writes durable")
    _log.info("stopped: the lease is released")


def _say_what_is_unusual(settings: Settings) -> None:
    if settings.database_url.get_secret_value() == DEFAULT_DATABASE_URL:
        _log.info("PLACET_DATABASE_URL is not set: the state is kept in ./placet.db")
    if any(len(token) < TOKEN_LENGTH_ADVISED for token in settings.tokens):
        _log.warning(f"a token of PLACET_SERVER_TOKENS is shorter than {TOKEN_LENGTH_ADVISED} characters: guessable")


def _bound(settings: Settings) -> socket.socket:
    """Take the port before anything else, but let nobody in yet: connections are refused until calls are served."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except BaseException:
        listener.close()
        raise
    return listener


def _refused(why: str) -> int:
    for line in why.splitlines():
        sys.stderr.write(f"placet server: {line}\n")
    return 1
