"""Sessions with the server: connected when first needed, replaced after a failure, and bounded pools of them."""

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any, Final

import asyncpg
from sqlalchemy import make_url

from placet_coordinator.ports.store import StoreUnavailable
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.pool import Pool
from placet_coordinator.store.postgres.failures import needs_new_connection, refused, said
from placet_coordinator.store.reconnect import ReconnectPause

CONNECT_LIMIT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 10.0
"""A statement without an answer for so long counts as lost; above every lock wait and `STATEMENT_LIMIT_MS`."""
STATEMENT_LIMIT_MS: Final = 8_000
PREPARED_MAX: Final = 128
"""Statements that a session keeps prepared; beyond it the oldest is prepared again when it is needed."""

SETTINGS: Final = {
    "application_name": "placet",
    "statement_timeout": str(STATEMENT_LIMIT_MS),
    "idle_in_transaction_session_timeout": "5000",
    # The server notices within 25 s that we are gone, and lets go of what we held.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "default_transaction_isolation": "read committed",
    # A statement planned while the tables were empty would scan them for ever after. Every statement of ours has its
    # index, so the plan is made once, and may not scan or hash (reference/speed.md, "Plan drift").
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
# The server's own setting stays if it is durable in any way ('local' to 'remote_apply').
_DURABLE: Final = (
    "select set_config('synchronous_commit', 'on', false) where current_setting('synchronous_commit') = 'off'"
)
_COLUMNS: Final = (
    "select attname from pg_attribute where attrelid = to_regclass('global_transaction') and attnum > 0 "
    "and not attisdropped order by attnum"
)


OPTIONS: Final = frozenset({"host", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl", "passfile", "options"})
"""What may stand in the URL's query: libpq's words, which the migrations' driver knows, too."""
_LOST: Final = (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)


class Session:
    """One connection, connected when needed. One statement at a time, each a transaction of its own.

    Attributes:
        columns: the columns of global_transaction as the server has them, known once connected.
    """

    def __init__(self, dsn: str, lock_wait_ms: int, counters: Counters) -> None:
        self._dsn, self._lock_wait_ms, self._counters = dsn, lock_wait_ms, counters
        self._connection: Any = None
        self._prepared: dict[str, Any] = {}
        self._names = count()
        self._pause = ReconnectPause()
        self.columns: tuple[str, ...] = ()

    @property
    def is_connected(self) -> bool:
        """Whether a statement can be sent at once."""
        return self._connection is not None and not self._connection.is_closed()

    async def connect(self) -> None:
        """Connect, unless connected.

        Raises:
            StoreUnavailable: the server can't be reached; nothing was sent.
        """
        if self.is_connected:
            return
        self.close()
        self._pause.check()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._connect()
        except (ValueError, asyncpg.PostgresError, *_LOST) as error:
            self.close()
            raise self._pause.failed(f"can't connect to PostgreSQL: {said(error)}") from None
        except BaseException:
            self.close()
            raise
        self._pause.succeeded()

    async def run(self, statement: str, arguments: Sequence[Any]) -> list[Any]:
        """Run one statement, prepared at its first use, and return its rows.

        Raises:
            StoreError: as the store port says for `write`.
        """
        if not self.is_connected:
            await self.connect()
        prepared = self._prepared.get(statement) or await self._prepare(statement)
        counters = self._counters
        counters.statements += 1
        counters.round_trips += 1
        # Not the driver's own timeout, which has the server cancel the statement: of a COMMIT that waits for a
        # synchronous standby this makes one that is seen and yet may be lost.
        limit = asyncio.get_running_loop().call_later(ANSWER_LIMIT_S, self._connection.terminate)
        try:
            rows: list[Any] = await prepared.fetch(*arguments)
        except asyncpg.PostgresConnectionError as error:
            self.close()
            raise _lost(error) from error
        except asyncpg.PostgresError as error:
            if needs_new_connection(error):
                self.close()
            raise refused(error) from error
        except _LOST as error:
            self.close()
            raise _lost(error) from error
        except BaseException:
            self.close()  # cancelled: the answer is still to come
            raise
        finally:
            limit.cancel()
        return rows

    def close(self) -> None:
        """End the session; what it has sent, the server finishes or rolls back alone."""
        connection, self._connection = self._connection, None
        self._prepared.clear()
        if connection is not None:
            connection.terminate()

    async def _connect(self) -> None:
        self._connection = await asyncpg.connect(
            self._dsn,
            timeout=CONNECT_LIMIT_S,
            server_settings=SETTINGS | {"lock_timeout": str(self._lock_wait_ms)},
            statement_cache_size=0,  # ours is `_prepared`, which holds statements of a known number
        )
        await self._connection.execute(_DURABLE)
        self.columns = tuple(name for (name,) in await self._connection.fetch(_COLUMNS))

    async def _prepare(self, statement: str) -> Any:
        self._counters.round_trips += 1
        try:
            # Named: the driver leaves a statement without a name to be parsed and planned anew at each execution, which
            # is three fifths of what the server does for a batch of one.
            # Our own timeout: the driver's does not cover that it closes here what was dropped before.
            async with asyncio.timeout(ANSWER_LIMIT_S):
                prepared = await self._connection.prepare(statement, name=f"placet_{next(self._names)}")
        except (asyncpg.PostgresError, *_LOST) as error:
            self.close()
            raise StoreUnavailable(f"a statement can't be prepared: {said(error)}", wrote_nothing=True) from error
        except BaseException:
            self.close()
            raise
        if len(self._prepared) >= PREPARED_MAX:
            del self._prepared[next(iter(self._prepared))]
        self._prepared[statement] = prepared
        return prepared


class Sessions(Pool[Session]):
    """A bounded pool of sessions that wait equally long for locks."""

    def __init__(self, size: int, dsn: str, lock_wait_ms: int, counters: Counters) -> None:
        super().__init__(size, lambda: Session(dsn, lock_wait_ms, counters))

    async def run(self, statement: str, arguments: Sequence[Any] = ()) -> list[Any]:
        """Run a statement on a free session. Raises as `Session.run` and `Pool.take`."""
        session = await self.take()
        try:
            return await session.run(statement, arguments)
        finally:
            self.give_back(session)


def dsn_of(url: str) -> str:
    """Return the URL as asyncpg reads it.

    Raises:
        ValueError: an option that we don't know.
    """
    parsed = make_url(url)
    unknown = parsed.query.keys() - OPTIONS
    if unknown:
        raise ValueError(f"database URL: unknown option {min(unknown)}; known are {', '.join(sorted(OPTIONS))}")
    return parsed.set(drivername="postgresql").render_as_string(hide_password=False)


def _lost(error: Exception) -> StoreUnavailable:
    return StoreUnavailable(f"the database's answer was lost: {said(error)}", wrote_nothing=False)
