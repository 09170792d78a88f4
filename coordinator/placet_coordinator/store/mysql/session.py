"""Sessions with the server: connected when first needed, replaced after a failure, and bounded pools of them."""

import asyncio
from typing import Any, Final

import asyncmy
from asyncmy.errors import Error, OperationalError

from placet_coordinator.ports.store import BadData, StoreError, StoreUnavailable, WriteConflict
from placet_coordinator.store.counters import Counters
from placet_coordinator.store.mysql.address import Address
from placet_coordinator.store.mysql.failures import is_answer, number, refused, said
from placet_coordinator.store.mysql.literals import encoded
from placet_coordinator.store.mysql.packet import Packet
from placet_coordinator.store.pool import Pool
from placet_coordinator.store.reconnect import ReconnectPause

CONNECT_LIMIT_S: Final = 5.0
ANSWER_LIMIT_S: Final = 10.0
"""A packet without an answer for so long counts as lost; above every lock wait of ours and `STATEMENT_LIMIT_S`."""
STATEMENT_LIMIT_S: Final = 8
LEAVE_LIMIT_S: Final = 1.0
IDLE_LIMIT_S: Final = 5
"""The server ends a session that is idle within a transaction for so long: it may belong to a stopped node."""
GROUP_CONCAT_BYTES: Final = 1_048_576
_GONE_BEFORE_SENDING: Final = 2006
"""Raised by the driver alone, when it finds the connection closed before it has sent all of a packet."""
_LOST: Final = (Error, OSError, TimeoutError, RuntimeError)
_FACTS: Final = (
    "select version(), @@max_allowed_packet",
    "show session variables like 'wsrep_on'",
)

Rows = tuple[tuple[Any, ...], ...]


class Session:
    """One connection, connected when needed. One packet at a time.

    Args:
        lock_wait_s: how long a statement waits for a lock; the server counts in whole seconds.
        is_causal: on Galera, a read waits until this node has what was committed on the others.
    """

    def __init__(self, address: Address, lock_wait_s: int, counters: Counters, *, is_causal: bool) -> None:
        self._address, self._lock_wait_s, self._counters = address, lock_wait_s, counters
        self._is_causal = is_causal
        self._connection: Any = None
        self._packet_bytes_max = 0
        self._ends_idle_transactions = False
        self._pause = ReconnectPause()

    async def run(self, packet: Packet) -> list[Rows]:
        """Send a packet, which the server works off alone, and return the rows of each statement.

        The server stops at the first statement that fails; what the packet had begun is rolled back then.

        Raises:
            StoreError: as the store port says for `write`.
        """
        await self.connect()
        statements = packet.statements
        guard = 0
        if packet.commit_at is not None and not self._ends_idle_transactions:
            # MySQL ends sessions that are idle, in a transaction or not: let this hold within the packet alone.
            statements = (f"set wait_timeout = {IDLE_LIMIT_S}", *statements, "set wait_timeout = default")
            guard = 1
        sent = encoded(";".join(statements))
        if len(sent) >= self._packet_bytes_max:
            raise BadData(f"a packet of {len(sent)} bytes is over max_allowed_packet ({self._packet_bytes_max})")
        counters = self._counters
        counters.round_trips += 1
        counters.statements += len(statements)
        results: list[Rows] = []
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._exchange(sent, results)
        except _LOST as error:
            raise await self._failure(error, len(results) - guard, packet.commit_at) from error
        except BaseException:
            self.close()  # cancelled: the answer is still to come, and would be taken for that of the next packet
            raise
        return results[guard : guard + len(packet.statements)]

    def close(self) -> None:
        """End the session; the server finishes or rolls back what it was sent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    async def leave(self) -> None:
        """End the session in order: of any other end the server's log says that a client was aborted."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                async with asyncio.timeout(LEAVE_LIMIT_S):
                    await connection.ensure_closed()
            except _LOST:
                connection.close()

    async def connect(self) -> None:
        """Connect, unless connected.

        Raises:
            StoreUnavailable: the server can't be reached; nothing was sent.
        """
        if self._connection is not None and self._connection.connected:
            return
        self.close()
        self._pause.check()
        try:
            async with asyncio.timeout(CONNECT_LIMIT_S):
                await self._connect()
        except _LOST as error:
            self.close()
            raise self._pause.failed(f"no session with {self._address}: {said(error)}") from None
        except BaseException:
            self.close()
            raise
        self._pause.succeeded()

    async def _connect(self) -> None:
        address = self._address
        self._connection = await asyncmy.connect(
            host=address.host,
            port=address.port,
            user=address.user,
            password=address.password,
            database=address.database,
            unix_socket=address.unix_socket,
            ssl=address.tls,
            charset="utf8mb4",
            autocommit=True,
            program_name="placet",
        )
        results: list[Rows] = []
        await _exchange(self._connection, encoded(";".join((*self._settings(), *_FACTS))), results)
        ((version, self._packet_bytes_max),), wsrep = results[-2:]
        self._ends_idle_transactions = "MariaDB" in version
        if self._is_causal and wsrep and wsrep[0][1] == "ON":
            await _exchange(self._connection, b"set session wsrep_sync_wait = 1", [])

    def _settings(self) -> tuple[str, ...]:
        """What every session sets, whatever the server's own settings are.

        Strict mode, or long values would be cut with a warning; no NO_BACKSLASH_ESCAPES, by which our literals would
        come out with their backslashes doubled. Read committed locks the rows that it finds and no gaps. Clocks are
        read in UTC, which repeats no hour. `/*M! */` is read by MariaDB alone.
        """
        return (
            "set names utf8mb4 collate utf8mb4_bin",
            (
                "set session sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
                "completion_type = 0, sql_safe_updates = 0, sql_select_limit = 18446744073709551615"
            ),
            f"set session innodb_lock_wait_timeout = {self._lock_wait_s}, lock_wait_timeout = {self._lock_wait_s}",
            (
                f"set session group_concat_max_len = {GROUP_CONCAT_BYTES} "
                f"/*M!, idle_transaction_timeout = {IDLE_LIMIT_S}, max_statement_time = {STATEMENT_LIMIT_S} */"
            ),
            "set session transaction isolation level read committed",
        )

    async def _exchange(self, sent: bytes, results: list[Rows]) -> None:
        try:
            await _exchange(self._connection, sent, results)
        except OperationalError as error:
            if number(error) != _GONE_BEFORE_SENDING:
                raise
            # The server had ended an idle session, and can't execute what it has not got whole.
            await self.connect()
            self._counters.round_trips += 1
            await _exchange(self._connection, sent, results)

    async def _failure(self, error: Exception, answered: int, commit_at: int | None) -> StoreError:
        """Leave the session clean, and return what to raise."""
        if not isinstance(error, Error) or not is_answer(error):
            self.close()
            return StoreUnavailable(f"the database's answer was lost: {said(error)}", wrote_nothing=commit_at is None)
        if commit_at is not None:
            await self._roll_back()
        meaning = refused(error)
        if commit_at is None or answered < commit_at:
            return meaning
        if answered == commit_at and isinstance(meaning, WriteConflict):
            return meaning  # as Galera answers the second of two writers, and has rolled it back
        return StoreUnavailable(f"the outcome of COMMIT is unknown: {meaning}", wrote_nothing=False)

    async def _roll_back(self) -> None:
        """End the transaction that a failed packet left open, at once: it holds row locks."""
        self._counters.round_trips += 1
        self._counters.statements += 1
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                await self._connection.rollback()
        except _LOST:
            self.close()
        except BaseException:
            self.close()
            raise


class Sessions(Pool[Session]):
    """A bounded pool of sessions that wait equally long for locks."""

    def __init__(
        self, size: int, address: Address, lock_wait_s: int, counters: Counters, *, is_causal: bool = True
    ) -> None:
        super().__init__(size, lambda: Session(address, lock_wait_s, counters, is_causal=is_causal))

    async def run(self, packet: Packet) -> list[Rows]:
        """Run a packet on a free session. Raises as `Session.run` and `Pool.take`."""
        session = await self.take()
        try:
            return await session.run(packet)
        finally:
            self.give_back(session)

    async def leave(self) -> None:
        """End all sessions in order."""
        for session in self._all:
            await session.leave()


async def _exchange(connection: Any, sent: bytes, results: list[Rows]) -> None:
    """Send a packet and read the result of each of its statements.

    Below the driver's cursors, which ask for warnings with a further round trip and log them, values included.
    """
    await connection.query(sent)
    while True:
        result = connection._result  # noqa: SLF001 - see above; there is no other way to a statement's rows
        results.append(result.rows or ())
        if not result.has_next:
            return
        await connection.next_result()
