"""One call of a branch at work: its barrier row, its handler's changes and its commit, in the caller's own session."""

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from fastapi import HTTPException, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session, SessionTransaction

from placet import answer
from placet.answer import NULL, Answered
from placet.barrier import Answer, Row
from placet.barrier_rows import Claim, rows_in
from placet.branch_call import BranchCall
from placet.contention import is_contention
from placet.errors import Reject
from placet.session import AnySession, beside, connection_of, on_session
from placet.swallowed_errors import SwallowedErrors, watched
from placet_contract.limits import REPLY_BYTES_MAX
from placet_contract.vocabulary import FORWARD_OPERATIONS

T = TypeVar("T")

_log = logging.getLogger("placet.participant")


class Doom(Protocol):
    """Aborts a transaction that can't commit any more."""

    async def abort(self, gid: str, seconds: float) -> None:
        """Returns once it is durably aborted; raises if that is not known."""
        ...


class BranchWork:
    """Takes the branch's row, and ends the caller's transaction in one of the ways of the wire.

    Args:
        call: what is asked.
        session: the caller's own; also its handler's.
        doom: for transactions that a handler has joined, and whose inner calls failed.

    Attributes:
        branch: the context of the handler.
        result: what the try or action returned, for the operation that ends it; None if that was null.
    """

    def __init__(self, call: BranchCall, session: AnySession, doom: Doom) -> None:
        self.call = call
        self.session = session
        self.branch = call.branch()
        self.result: str | None = None
        self._doom = doom
        self._transaction: SessionTransaction | None = None
        self._swallowed = SwallowedErrors()

    async def begin(self) -> None:
        """Takes the row; afterwards the handler may run.

        Raises:
            Answered: the handler is not to run; the transaction has ended.
        """
        try:
            response = await on_session(self.session, self._begin)
        except Exception as error:
            await self._roll_back()
            if is_contention(error):
                raise Answered(
                    answer.ongoing(self.call.key, "waited too long for another call of this branch")
                ) from error
            raise
        if response is not None:
            raise Answered(response)

    async def finish(self, result: bytes) -> Response:
        """Commits the handler's changes together with its answer, and returns that."""
        if self.branch.scope.doomed:
            return await self._give_up()
        await self._end(lambda session: self._commit(session, result))
        return answer.done(self.call.key, result)

    async def fail(self, error: Exception) -> Response:
        """Rolls back what a handler has begun before it raised, and returns the answer, if it has one.

        Raises:
            Exception: the error itself, when it is no answer of the wire: a 5xx, which says that nothing is known.
        """
        await self._roll_back()
        if self.branch.scope.doomed:
            await self._abort_doomed()
        if isinstance(error, Reject):
            return await self._reject(error.reason)
        if is_contention(error):
            # Not the error itself: its text has the statement's parameters, which are the user's data.
            _log.info("%s met a lock, a deadlock or a serialization failure: %s", self.call.key, error.__cause__)
            return answer.ongoing(self.call.key, "the database asks to try again")
        if isinstance(error, HTTPException) and error.status_code < 400:  # noqa: PLR2004 - RFC 9110's error statuses
            raise RuntimeError(
                f"the handler of {self.call.key} raised HTTP {error.status_code}: its changes are rolled back, which "
                "must not look like a success; return the result instead"
            ) from error
        raise error

    def abandon(self) -> None:
        """Breaks the connection of a call that is cancelled: its dependency could still commit half of it."""
        session = self.session.sync_session if isinstance(self.session, AsyncSession) else self.session
        session.invalidate()

    def _begin(self, session: Session) -> Response | None:
        connection = connection_of(session)
        taken = rows_in(connection).take(connection, self._claim())
        if taken.ours:
            self._transaction = session.get_transaction()
            self._swallowed = watched(connection)
            self.result = None if taken.row is None else taken.row.result
            return None
        if taken.marked:
            session.commit()
            return answer.done(self.call.key)
        session.rollback()
        return answer.of_row(self.call.key, self.call.operation, taken.row)

    def _commit(self, session: Session, result: bytes) -> None:
        if session.get_transaction() is not self._transaction:
            raise RuntimeError(
                f"the handler of {self.call.key} ended its transaction itself, so that its changes and the barrier's "
                "row are not one commit: leave commit and rollback to Placet"
            )
        if self._swallowed.first is not None:
            self._check_swallowed(session)
        if result != NULL:
            connection = connection_of(session)
            rows_in(connection).keep_result(connection, self._claim(), result.decode())
        session.commit()

    def _check_swallowed(self, session: Session) -> None:
        """Raises unless the transaction still holds the row that it took."""
        if self._swallowed.fatal is not None:
            raise self._swallowed.fatal
        connection = connection_of(session)
        try:
            row = rows_in(connection).read(connection, self._claim())
        except DBAPIError:
            row = None
        if row is None and self._swallowed.first is not None and is_contention(self._swallowed.first):
            raise self._swallowed.first
        if row is None:
            raise RuntimeError(
                f"the handler of {self.call.key} caught a database error that has ended its transaction: let it raise, "
                "or put what may fail into session.begin_nested()"
            ) from self._swallowed.first

    async def _reject(self, reason: str) -> Response:
        if self.call.operation not in FORWARD_OPERATIONS:
            _log.error("the handler of %s may not reject, for the decision is taken: %s", self.call.key, reason)
            return answer.rejected(self.call.key, reason)
        try:
            row = await self._end(lambda session: self._keep_rejection(session, reason))
        except Exception as error:
            if is_contention(error):
                return answer.ongoing(self.call.key, "another call of this branch is at work")
            raise
        return answer.of_row(self.call.key, self.call.operation, row)

    def _keep_rejection(self, session: Session, reason: str) -> Row | None:
        """Inserts the rejection in a transaction of its own, and returns the row that is there then.

        Another attempt may have written it since the rollback: its answer is the one that all attempts get.
        """
        claim, kept = self._claim(), answer.kept_reason(reason)
        with beside(session) as connection:
            rows = rows_in(connection)
            if rows.insert(connection, claim.row(Answer.REJECTED, kept)):
                return Row(Answer.REJECTED, None, kept)
            return rows.read(connection, claim)

    async def _give_up(self) -> Response:
        """Answers for a handler that went on although a call that it had joined to the transaction failed."""
        await self._roll_back()
        await self._abort_doomed()
        return answer.late(self.call.key, "a call that this one made inside the transaction failed; it is aborted")

    async def _abort_doomed(self) -> None:
        for gid in self.branch.scope.doomed:
            await self._doom.abort(gid, self.branch.seconds_left)

    async def _roll_back(self) -> None:
        try:
            await self._end(lambda session: session.rollback())
        except Exception:  # noqa: BLE001 - the connection is broken, so the server rolls back; the cause is raised
            _log.debug("%s: the rollback failed", self.call.key, exc_info=True)

    async def _end(self, work: Callable[[Session], T]) -> T:
        return await on_session(self.session, work, has_connection=True)

    def _claim(self) -> Claim:
        call = self.call
        wait_ms = max(1, int(self.branch.seconds_left * 1_000))
        return Claim(call.gid, call.branch_id, call.operation, time.time_ns() // 1_000_000, wait_ms)


def checked_result(key: str, result: bytes) -> bytes:
    """Returns the result if it can travel; a longer reply would be an unknown outcome, again and again."""
    if len(result) > REPLY_BYTES_MAX:
        raise ValueError(
            f"the result of {key} has {len(result)} bytes, more than {REPLY_BYTES_MAX}: return a reference"
        )
    return result
