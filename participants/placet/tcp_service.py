"""A participant's routes over the built-in RPC's TCP transport: the same application, called in this process."""

import ipaddress
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import FastAPI

from placet.settings import Settings
from placet_rpc.frames import CODEC_HTTP
from placet_rpc.tcp import HttpCalls, TcpServer

GRACE = timedelta(seconds=10)
"""How long a stopping service waits for calls under way."""

_log = logging.getLogger("placet.tcp")


@asynccontextmanager
async def served_over_tcp(app: FastAPI | None, settings: Settings) -> AsyncIterator[str | None]:
    """Serves the application over TCP while the block runs; yields where, or None if it is served over HTTP alone.

    Each worker process listens on a port of its own, and is an instance of its own. Without TLS the transport is
    offered on loopback only, so a service that others reach from elsewhere is called over HTTP.

    Args:
        app: the application; without it there is nothing to call.
        settings: `transport`, `self_url` and `self_tcp_port`.
    """
    if app is None or settings.self_url is None or not _is_wanted(settings):
        yield None
        return
    server = TcpServer({CODEC_HTTP: HttpCalls(app)}, app="placet-participant")
    try:
        await server.start("127.0.0.1", settings.self_tcp_port)
    except OSError as error:
        _log.warning("served over HTTP alone: port %d can't be listened on: %s", settings.self_tcp_port, error)
        yield None
        return
    try:
        yield f"tcp://127.0.0.1:{server.port}"
    finally:
        await server.aclose(linger=timedelta(), grace=GRACE)


def _is_wanted(settings: Settings) -> bool:
    if settings.transport == "http" or settings.self_tcp_port < 0:
        return False
    host = urlsplit(settings.self_url or "").hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
