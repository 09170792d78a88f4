"""Reads of transactions, the operator's retry, and what a barrier may forget."""

from typing import Any

from fastapi import Request

from placet_contract.limits import FINISHED_GIDS_MAX
from placet_contract.transactions import (
    CommitRequest,
    FinishedReply,
    FinishedRequest,
    TransactionPage,
    TransactionReply,
    TransactionView,
)
from placet_contract.vocabulary import FINAL_STATUSES
from placet_coordinator.api.answers import Answer, encode
from placet_coordinator.api.calls import ApiCall, Reply, body_of
from placet_coordinator.api.lane import ABORT, BEGIN, COMMIT, REGISTER, FastLane
from placet_coordinator.api.nodes import NodeNames
from placet_coordinator.api.pages import ListQuery, read_page
from placet_coordinator.api.queries import NoQuery, WaitQuery, read_query
from placet_coordinator.api.requests import BodyDecoder, check_gid
from placet_coordinator.api.views import view_of
from placet_coordinator.engine.commands import Commands
from placet_coordinator.engine.errors import UnknownGid
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.store import TransactionStore

ATTEMPTS_SHOWN_MAX = 500
ATTEMPTS_LISTED_EACH_MAX = 10
GIDS_PER_READ = 100

_RETRY = BodyDecoder(CommitRequest, may_be_empty=True)
_FINISHED = BodyDecoder(FinishedRequest)

_TRANSFER: dict[str, Any] = {
    "pattern": "tcc",
    "gid": "t-1",
    "timeout_ms": 30_000,
    "branches": [
        {"branch_id": "a", "target": "http://127.0.0.1:7001/debit", "payload": {"amount": 30}},
        {"branch_id": "b", "target": "http://127.0.0.1:7002/credit", "payload": {"amount": 30}},
    ],
}


def _replied(status: str, version: int, reason: str | None = None) -> dict[str, Any]:
    return {"gid": "t-1", "pattern": "tcc", "status": status, "reason": reason, "version": version, "node": "box-8470"}


class TransactionReads:
    """The calls that only look, and `retry`, which only hurries."""

    def __init__(self, *, store: TransactionStore, commands: Commands, clock: Clock, names: NodeNames) -> None:
        self._store, self._commands, self._clock, self._names = store, commands, clock, names

    def calls(self) -> tuple[ApiCall, ...]:
        """Return the declared calls."""
        return (
            ApiCall(
                "GET",
                "/v1/transactions",
                "list_transactions",
                "List transactions, newest first",
                self.page,
                (Reply(200, "One page; stable under inserts.", TransactionPage),),
                problems=(422, 503),
                query=ListQuery,
                description="The list leaves `timeline` out and shows the last attempts only. A page ends early where "
                "plans are large; go on with `next_cursor` until it is null.",
            ),
            ApiCall(
                "GET",
                "/v1/transactions/{gid}",
                "show_transaction",
                "Show one transaction with branches, attempts and timeline",
                self.show,
                (Reply(200, "The transaction as last committed.", TransactionView),),
                problems=(404, 422, 503),
                query=NoQuery,
            ),
            ApiCall(
                "POST",
                "/v1/transactions/{gid}/retry",
                "retry_transaction",
                "Make the waiting calls of an open transaction now",
                self.retry,
                (Reply(200, "The calls are due now.", TransactionReply, _replied("committing", 4)),),
                problems=(400, 404, 409, 413, 422, 503),
                query=NoQuery,
                body=_RETRY,
                description="An operator's nudge: it decides nothing and changes only the due times.",
            ),
            ApiCall(
                "POST",
                "/v1/transactions/finished",
                "finished_transactions",
                "Ask which transactions a barrier may forget",
                self.finished,
                (
                    Reply(
                        200,
                        "Those that ended, and those that are not known; open ones are in neither list.",
                        FinishedReply,
                        {"finished": ["t-1"], "unknown": ["t-0"]},
                    ),
                ),
                problems=(400, 413, 422, 503),
                query=NoQuery,
                body=_FINISHED,
                body_example={"gids": ["t-0", "t-1", "t-2"]},
                description=f"At most {FINISHED_GIDS_MAX} gids.",
            ),
        )

    async def page(self, request: Request) -> Answer:
        """Answer the list."""
        query = read_query(request.scope["query_string"], ListQuery)
        rows, cursor = await read_page(self._store, query, self._clock.now_ms())
        attempts = (
            await self._store.attempts_of_many([row.gid for row in rows], ATTEMPTS_LISTED_EACH_MAX) if rows else {}
        )
        names = await self._names.of({row.owner for row in rows})
        items = [view_of(row, attempts.get(row.gid, ()), names[row.owner], with_timeline=False) for row in rows]
        return Answer(200, encode(TransactionPage(items=items, next_cursor=cursor)))

    async def show(self, request: Request) -> Answer:
        """Answer one transaction."""
        gid = _gid(request)
        row = await self._store.load(gid)
        if row is None:
            raise UnknownGid(gid)
        attempts = await self._store.attempts(gid, ATTEMPTS_SHOWN_MAX)
        names = await self._names.of({row.owner})
        return Answer(200, encode(view_of(row, attempts, names[row.owner], with_timeline=True)))

    async def retry(self, request: Request) -> Answer:
        """Answer an operator's retry."""
        gid = _gid(request)
        _RETRY.read(await body_of(request))
        return Answer(200, encode(await self._commands.retry(gid)))

    async def finished(self, request: Request) -> Answer:
        """Answer which gids are finished, and which are unknown."""
        read_query(request.scope["query_string"], NoQuery)
        asked: FinishedRequest = _FINISHED.read(await body_of(request))
        gids = list(dict.fromkeys(asked.gids))
        statuses: dict[str, str] = {}
        for start in range(0, len(gids), GIDS_PER_READ):
            rows = await self._store.load_many(gids[start : start + GIDS_PER_READ])
            statuses.update((row.gid, row.status) for row in rows)
        finished = [gid for gid in gids if statuses.get(gid) in FINAL_STATUSES]
        unknown = [gid for gid in gids if gid not in statuses]
        return Answer(200, encode(FinishedReply(finished=finished, unknown=unknown)))


def _gid(request: Request) -> str:
    read_query(request.scope["query_string"], NoQuery)
    gid = str(request.path_params["gid"])
    check_gid(gid)
    return gid


def hot_calls(lane: FastLane) -> tuple[ApiCall, ...]:
    """Return the declarations of the four hot calls; the lane answers them."""

    async def endpoint(request: Request) -> Answer:
        scope = request.scope
        call = lane.find("POST", scope["path"], scope["query_string"])
        assert call is not None  # noqa: S101 - the router has matched the same paths
        return await call.answer(scope["headers"], await body_of(request))

    durable = "This state is durable; without `wait_ms` the answer comes as soon as the decision is."
    of_gid = "/v1/transactions/{gid}"
    return (
        ApiCall(
            "POST",
            "/v1/transactions",
            "begin",
            "Begin a transaction",
            endpoint,
            (
                Reply(201, "Begun, durably.", TransactionReply, _replied("active", 1)),
                Reply(200, "The same was begun before.", TransactionReply, _replied("active", 1)),
            ),
            problems=(400, 409, 413, 422, 503),
            query=WaitQuery,
            body=BEGIN,
            body_example=_TRANSFER,
            description="`gid` is the idempotency key. A saga needs one, and runs as soon as it is begun.",
        ),
        ApiCall(
            "POST",
            f"{of_gid}/branches",
            "register",
            "Register branches, before they are called",
            endpoint,
            (Reply(200, "Registered, durably; repeatable.", TransactionReply, _replied("active", 2)),),
            problems=(400, 404, 409, 413, 422, 503),
            query=NoQuery,
            body=REGISTER,
            body_example={"branches": _TRANSFER["branches"][:1]},
        ),
        ApiCall(
            "POST",
            f"{of_gid}/commit",
            "commit",
            "Decide that all of it happens",
            endpoint,
            (Reply(200, durable, TransactionReply, _replied("committing", 2)),),
            problems=(400, 404, 409, 413, 422, 503),
            query=WaitQuery,
            body=COMMIT,
            body_example={},
        ),
        ApiCall(
            "POST",
            f"{of_gid}/abort",
            "abort",
            "Decide that none of it happens",
            endpoint,
            (Reply(200, durable, TransactionReply, _replied("aborting", 2, "initiator")),),
            problems=(400, 409, 413, 422, 503),
            query=WaitQuery,
            body=ABORT,
            body_example={"reason_text": "the customer changed her mind"},
            description="An unknown gid is recorded as aborted, so that a begin still on its way gets 409.",
        ),
    )
