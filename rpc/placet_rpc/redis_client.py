"""Clients of Redis for what lives by asking it again and again. Needs the extra `redis`."""

from datetime import timedelta

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def open_client(url: str, *, ca_file: str, answer_timeout: timedelta, max_connections: int) -> Redis:
    """Opens a client that repeats nothing by itself, and connects when it is first asked.

    Args:
        url: `redis://…`, or `rediss://…` with TLS.
        ca_file: of certificates that are believed instead of the system's; empty: the system's.
        answer_timeout: of connecting, of each answer, and of the wait for a free connection.
        max_connections: at a time.

    Raises:
        ValueError: the URL is none of Redis.
    """
    seconds = answer_timeout.total_seconds()
    tls = {"ssl_ca_certs": ca_file} if ca_file else {}
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), 0),
        **tls,
    )
    return Redis.from_pool(pool)
