"""The fast lane: begin, register, commit and abort, from bytes to bytes, with no framework in between.

FastAPI declares the same calls for OpenAPI, and its endpoints end here too: one decoder, one validator.
"""

from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, Protocol

import structlog

from placet_contract.transactions import (
    AbortRequest,
    BeginRequest,
    CommitRequest,
    RegisterRequest,
    TransactionReply,
)
from placet_coordinator.api.access import Access, Headers
from placet_coordinator.api.answers import Answer, encode, of_defect, of_error
from placet_coordinator.api.requests import BodyDecoder, NoQuery, WaitQuery, check_gid, check_text, read_query

TRANSACTIONS = "/v1/transactions"

BEGIN = BodyDecoder(BeginRequest, has_raw=True)
REGISTER = BodyDecoder(RegisterRequest, has_raw=True)
COMMIT = BodyDecoder(CommitRequest, may_be_empty=True)
ABORT = BodyDecoder(AbortRequest, may_be_empty=True)

_OF_GID = TRANSACTIONS + "/"

_log = structlog.get_logger("placet.api")


class Commands(Protocol):
    """The commands of the engine, as the edge needs them; see `placet_coordinator.engine.commands`."""

    async def begin(
        self, request: BeginRequest, *, traceparent: str | None = None, wait_ms: int = 0
    ) -> tuple[TransactionReply, bool]:
        """Begin a transaction; the second value tells whether it is new."""

    async def register(self, gid: str, request: RegisterRequest) -> TransactionReply:
        """Add branches to an active transaction."""

    async def commit(self, gid: str, *, wait_ms: int = 0) -> TransactionReply:
        """Decide that all of it happens."""

    async def abort(self, gid: str, reason_text: str | None = None, *, wait_ms: int = 0) -> TransactionReply:
        """Decide that none of it happens."""

    async def retry(self, gid: str) -> TransactionReply:
        """Make the waiting calls of an open transaction now."""


Call = Callable[[str, bytes, str | None, bytes], Coroutine[Any, Any, Answer]]
"""From gid, query, traceparent and body to the answer."""


class HotCall(NamedTuple):
    """One of the lane's calls; the gid is empty for begin, which has it in its body."""

    gid: str
    answer: Call


class FastLane:
    """Answers the hot calls."""

    def __init__(self, commands: Commands, access: Access) -> None:
        self._commands, self._access = commands, access
        self._of_gid: dict[str, Call] = {"branches": self._register, "commit": self._commit, "abort": self._abort}

    def find(self, method: str, path: str) -> HotCall | None:
        """Return the lane's call at a decoded path, None if it is not one of the lane's."""
        if method != "POST":
            return None
        if path == TRANSACTIONS:
            return HotCall("", self._begin)
        if not path.startswith(_OF_GID):
            return None
        gid, _, name = path[len(_OF_GID) :].partition("/")
        answer = self._of_gid.get(name)
        return None if answer is None or not gid else HotCall(gid, answer)

    async def handle(self, call: HotCall, query: bytes, headers: Headers, body: bytes) -> Answer:
        """Answer one call; never raises.

        Args:
            call: what `find` returned.
            query: as sent, without the question mark.
            headers: names in lower case.
            body: the whole body.
        """
        try:
            traceparent = self._access.admit(headers)
            return await call.answer(call.gid, query, traceparent, body)
        except Exception as error:  # noqa: BLE001 - the edge turns whatever is left into a problem
            answer = of_error(error)
            if answer is None:
                _log.exception("a call failed", call=call.answer.__name__, gid=call.gid)
                answer = of_defect()
            return answer

    async def _begin(self, _gid: str, query: bytes, traceparent: str | None, body: bytes) -> Answer:
        wait_ms = read_query(query, WaitQuery).wait_ms if query else 0
        request: BeginRequest = BEGIN.read(body)
        if b"\\u0000" in body:
            check_text(name=request.name, key=request.key)
        reply, is_new = await self._commands.begin(request, traceparent=traceparent, wait_ms=wait_ms)
        return Answer(201 if is_new else 200, encode(reply))

    async def _register(self, gid: str, query: bytes, _traceparent: str | None, body: bytes) -> Answer:
        check_gid(gid)
        if query:
            read_query(query, NoQuery)
        return Answer(200, encode(await self._commands.register(gid, REGISTER.read(body))))

    async def _commit(self, gid: str, query: bytes, _traceparent: str | None, body: bytes) -> Answer:
        check_gid(gid)
        wait_ms = read_query(query, WaitQuery).wait_ms if query else 0
        COMMIT.read(body)
        return Answer(200, encode(await self._commands.commit(gid, wait_ms=wait_ms)))

    async def _abort(self, gid: str, query: bytes, _traceparent: str | None, body: bytes) -> Answer:
        check_gid(gid)
        wait_ms = read_query(query, WaitQuery).wait_ms if query else 0
        request: AbortRequest = ABORT.read(body)
        check_text(reason_text=request.reason_text)
        return Answer(200, encode(await self._commands.abort(gid, request.reason_text, wait_ms=wait_ms)))
