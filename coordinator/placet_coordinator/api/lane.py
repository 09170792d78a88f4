"""The fast lane: begin, register, commit and abort, from bytes to bytes, with no framework in between.

FastAPI declares the same calls for OpenAPI, and its endpoints end here too: one decoder, one validator.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Coroutine
from typing import ClassVar

import structlog

from placet_contract.transactions import (
    AbortRequest,
    BeginRequest,
    CommitRequest,
    RegisterRequest,
    TransactionReply,
)
from placet_contract.vocabulary import Reason
from placet_coordinator.api.access import Access, Headers
from placet_coordinator.api.answers import Answer, encode, of_defect, of_error
from placet_coordinator.api.queries import NoQuery, WaitQuery, read_query
from placet_coordinator.api.requests import BodyDecoder, check_gid, check_text
from placet_coordinator.core.events import AbortAsked, CommitAsked
from placet_coordinator.core.transaction import Transaction
from placet_coordinator.engine.commands import Again, Commands, EventFor, failure
from placet_coordinator.engine.held import Write, WriteEnd

TRANSACTIONS = "/v1/transactions"

BEGIN = BodyDecoder(BeginRequest, has_raw=True)
REGISTER = BodyDecoder(RegisterRequest, has_raw=True)
COMMIT = BodyDecoder(CommitRequest, may_be_empty=True)
ABORT = BodyDecoder(AbortRequest, may_be_empty=True)

_OF_GID = TRANSACTIONS + "/"

_log = structlog.get_logger("placet.api")

Respond = Callable[[Answer], None]
"""Takes an answer, in the middle of a batch: it must be short."""


class HotCall:
    """One call of the lane. Most are stepped and answered without a task, a future or a coroutine.

    Satisfies `placet_coordinator.engine.held.Waiter` for its first step.

    Args:
        lane: what all calls share.
        gid: as in the path, empty for begin.
        query: as sent, without the question mark.
    """

    __slots__ = ("_gid", "_lane", "_query", "_respond", "_write")
    status: ClassVar[int] = 200

    def __init__(self, lane: "FastLane", gid: str, query: bytes) -> None:
        self._lane, self._gid, self._query = lane, gid, query
        self._write: Write | None = None
        self._respond: Respond

    async def answer(self, headers: Headers, body: bytes) -> Answer:
        """Return the answer; never raises.

        Args:
            headers: names in lower case.
            body: the whole body.
        """
        try:
            wait_ms = self._read(self._lane.access.admit(headers), body)
            return await self._whole(wait_ms, is_certain=True)
        except Exception as error:  # noqa: BLE001 - the edge turns whatever is left into a problem
            return self._told(error)

    def start(self, headers: Headers, body: bytes, respond: Respond) -> None:
        """Give the answer to `respond`, later; never raises. Arguments as for `answer`."""
        self._respond = respond
        try:
            wait_ms = self._read(self._lane.access.admit(headers), body)
            self._write = None if wait_ms else self._first()
        except Exception as error:  # noqa: BLE001 - as above
            # Not from here: pipelined bad requests would be answered one inside the other.
            asyncio.get_running_loop().call_soon(respond, self._told(error))
            return
        if self._write is None:
            self._lane.run(self._go_on(wait_ms, is_certain=True))

    def done(self) -> bool:
        """Say that the end of the first step is always waited for."""
        return False

    def set_result(self, end: WriteEnd, /) -> None:
        """Hear the end of the first step."""
        try:
            if end is WriteEnd.DURABLE and self._write is not None:
                self._respond(Answer(self.status, encode(self._lane.commands.report(self._write))))
                return
            error = failure(end)
            if isinstance(error, Again):
                self._lane.run(self._go_on(0, is_certain=error.is_certain))
            else:
                self._respond(self._told(error))
        except Exception:  # noqa: BLE001 - it is told in the middle of a batch, whose other callers must not suffer
            _log.exception("an answer failed", call=type(self).__name__, gid=self._gid)

    async def _go_on(self, wait_ms: int, *, is_certain: bool) -> None:
        try:
            answer = await self._whole(wait_ms, is_certain=is_certain)
        except Exception as error:  # noqa: BLE001 - as above
            answer = self._told(error)
        self._respond(answer)

    def _told(self, error: Exception) -> Answer:
        answer = of_error(error)
        if answer is None:
            _log.error("a call failed", call=type(self).__name__, gid=self._gid, exc_info=error)
            answer = of_defect()
        return answer

    @abstractmethod
    def _read(self, traceparent: str | None, body: bytes) -> int:
        """Read and check the request; return how long it waits for the end, in ms."""

    @abstractmethod
    def _first(self) -> Write | None:
        """Take the first step; None if the whole way has to be gone."""

    @abstractmethod
    async def _whole(self, wait_ms: int, *, is_certain: bool) -> Answer:
        """Go the whole way; `is_certain`: nothing was written for this request so far."""


class _Begin(HotCall):
    __slots__ = ("_transaction",)
    status = 201

    def _read(self, traceparent: str | None, body: bytes) -> int:
        wait_ms = read_query(self._query, WaitQuery).wait_ms if self._query else 0
        request: BeginRequest = BEGIN.read(body)
        if b"\\u0000" in body:
            check_text(name=request.name, key=request.key)
        self._transaction: Transaction = self._lane.commands.plan(request, traceparent=traceparent)
        return wait_ms

    def _first(self) -> Write | None:
        return self._lane.commands.begin_at_once(self._transaction, self)

    async def _whole(self, wait_ms: int, *, is_certain: bool) -> Answer:
        reply, is_new = await self._lane.commands.begin_planned(
            self._transaction, wait_ms=wait_ms, is_certain=is_certain
        )
        return Answer(201 if is_new else 200, encode(reply))


class _OfGid(HotCall):
    """A call whose path names the transaction."""

    __slots__ = ("_event_for",)

    def __init__(self, lane: "FastLane", gid: str, query: bytes) -> None:
        super().__init__(lane, gid, query)
        self._event_for: EventFor

    def _first(self) -> Write | None:
        return self._lane.commands.step_at_once(self._gid, self._event_for, self)

    async def _whole(self, wait_ms: int, *, is_certain: bool) -> Answer:
        return Answer(200, encode(await self._reply(wait_ms, is_certain=is_certain)))

    @abstractmethod
    async def _reply(self, wait_ms: int, *, is_certain: bool) -> TransactionReply:
        """Let the command answer."""


class _Register(_OfGid):
    __slots__ = ("_request",)

    def _read(self, _traceparent: str | None, body: bytes) -> int:
        check_gid(self._gid)
        if self._query:
            read_query(self._query, NoQuery)
        self._request: RegisterRequest = REGISTER.read(body)
        self._event_for = self._lane.commands.registration(self._request)
        return 0

    async def _reply(self, _wait_ms: int, *, is_certain: bool) -> TransactionReply:
        return await self._lane.commands.register(self._gid, self._request, is_certain=is_certain)


class _Commit(_OfGid):
    __slots__ = ()

    def _read(self, _traceparent: str | None, body: bytes) -> int:
        check_gid(self._gid)
        wait_ms = read_query(self._query, WaitQuery).wait_ms if self._query else 0
        COMMIT.read(body)
        self._event_for = _commit_asked
        return wait_ms

    async def _reply(self, wait_ms: int, *, is_certain: bool) -> TransactionReply:
        return await self._lane.commands.commit(self._gid, wait_ms=wait_ms, is_certain=is_certain)


class _Abort(_OfGid):
    __slots__ = ("_reason_text",)

    def _read(self, _traceparent: str | None, body: bytes) -> int:
        check_gid(self._gid)
        wait_ms = read_query(self._query, WaitQuery).wait_ms if self._query else 0
        request: AbortRequest = ABORT.read(body)
        check_text(reason_text=request.reason_text)
        self._reason_text = request.reason_text
        event = AbortAsked(Reason.INITIATOR, request.reason_text)
        self._event_for = lambda _transaction: event
        return wait_ms

    async def _reply(self, wait_ms: int, *, is_certain: bool) -> TransactionReply:
        return await self._lane.commands.abort(self._gid, self._reason_text, wait_ms=wait_ms, is_certain=is_certain)


_COMMIT_ASKED = CommitAsked()


def _commit_asked(_transaction: Transaction) -> CommitAsked:
    return _COMMIT_ASKED


_KINDS_OF_GID: dict[str, type[HotCall]] = {"branches": _Register, "commit": _Commit, "abort": _Abort}


class FastLane:
    """Finds the hot calls, and holds what they share.

    Attributes:
        commands: the engine's.
        access: who may call.
    """

    def __init__(self, commands: Commands, access: Access) -> None:
        self.commands, self.access = commands, access
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, method: str, path: str, query: bytes = b"") -> HotCall | None:
        """Return the lane's call at a decoded path, None if it is not one of the lane's."""
        if method != "POST":
            return None
        if path == TRANSACTIONS:
            return _Begin(self, "", query)
        if not path.startswith(_OF_GID):
            return None
        gid, _, name = path[len(_OF_GID) :].partition("/")
        kind = _KINDS_OF_GID.get(name)
        return None if kind is None or not gid else kind(self, gid, query)

    def run(self, rest: Coroutine[None, None, None]) -> None:
        """Run the rest of a call that its first step did not answer."""
        task = asyncio.get_running_loop().create_task(rest)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
