"""The coordinator's HTTP calls, one method each: one attempt, a typed answer or a typed error."""

# ruff: noqa: ASYNC109 - the HTTP client keeps the time of a call itself, and a deadline is part of each call's contract

from collections.abc import Sequence
from datetime import timedelta
from typing import Self, TypeVar
from urllib.parse import urlencode

import msgspec

from placet.duration import Duration, duration_ms
from placet.errors import (
    Conflict,
    ContentDiffers,
    CoordinatorError,
    CoordinatorOverloaded,
    CoordinatorRefused,
    CoordinatorUnavailable,
    TransactionNotFound,
)
from placet.loop_http import LoopHttp
from placet_contract import problems
from placet_contract.ids import matches_branch_id, matches_gid
from placet_contract.limits import FINISHED_GIDS_MAX, LIST_LIMIT, WAIT_MS_MAX
from placet_contract.problems import Problem
from placet_contract.services import InstanceRequest, ServicePage, ServiceView
from placet_contract.transactions import (
    AbortRequest,
    BeginRequest,
    BranchRequest,
    FinishedReply,
    FinishedRequest,
    RegisterRequest,
    TransactionPage,
    TransactionReply,
    TransactionView,
)
from placet_rpc import HttpLimits, Reply, RpcError, header_block

TIMEOUT = timedelta(seconds=5)
"""Time of one attempt, unless the caller says otherwise."""

RETRY_AFTER_DEFAULT = timedelta(seconds=1)
RETRY_AFTER_MAX = timedelta(seconds=60)
_OVERLOADED_STATUS = 503
_PAGE_REPLY_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_decode_problem = msgspec.json.Decoder(Problem).decode
_decode_transaction = msgspec.json.Decoder(TransactionReply).decode
_EMPTY = b"{}"
_REFUSALS: dict[str, type[CoordinatorRefused]] = {
    problems.NOT_FOUND: TransactionNotFound,
    problems.CONFLICT: Conflict,
    problems.CONTENT_DIFFERS: ContentDiffers,
}
_TRANSIENT = frozenset({problems.UNAVAILABLE, problems.INTERNAL})


class Coordinator:
    """An HTTP client of one coordinator. It sends each call once; all of them may be repeated.

    Every method raises `CoordinatorOverloaded` (nothing was written), `CoordinatorUnavailable` (`maybe_written` says
    whether it may have been) or `CoordinatorRefused` (a repeat gives the same answer). An answer that is not the
    coordinator's own, such as a proxy's error page, counts as unavailable.

    Args:
        url: the coordinator's base URL.
        token: the bearer token, if it wants one.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        fields = [("content-type", "application/json")]
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        self._headers = header_block(fields)
        self._http = LoopHttp(HttpLimits(max_reply_bytes=_PAGE_REPLY_BYTES))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; calls under way end as unavailable."""
        await self._http.aclose()

    async def begin(
        self, request: BeginRequest, *, wait: Duration | None = None, timeout: Duration = TIMEOUT
    ) -> TransactionReply:
        """Begins a transaction. With a gid in the request it may be repeated: the same content is begun once.

        Args:
            request: the plan.
            wait: hold the answer until the transaction is finished, or this has passed.
            timeout: time for the answer, on top of `wait`.

        Raises:
            Conflict: aborted already.
            ContentDiffers: the gid is taken by another plan.
        """
        path, extra_ms = _waiting("/v1/transactions", wait)
        return await self._transaction(path, _encode(request), extra_ms + duration_ms(timeout, "timeout"), request.gid)

    async def register(
        self, gid: str, branches: Sequence[BranchRequest], *, timeout: Duration = TIMEOUT
    ) -> TransactionReply:
        """Registers branches durably; repeatable with the same content.

        Raises:
            Conflict: the transaction is decided.
            ContentDiffers: a branch_id is taken by another branch.
        """
        body = _encode(RegisterRequest(list(branches)))
        return await self._transaction(_path(gid, "/branches"), body, duration_ms(timeout, "timeout"), gid)

    async def commit(self, gid: str, *, wait: Duration | None = None, timeout: Duration = TIMEOUT) -> TransactionReply:
        """Decides to commit; repeatable.

        Raises:
            Conflict: the other decision won.
            TransactionNotFound: no such gid.
        """
        path, extra_ms = _waiting(_path(gid, "/commit"), wait)
        return await self._transaction(path, _EMPTY, extra_ms + duration_ms(timeout, "timeout"), gid)

    async def abort(
        self, gid: str, *, reason_text: str | None = None, wait: Duration | None = None, timeout: Duration = TIMEOUT
    ) -> TransactionReply:
        """Decides to abort; repeatable. An unknown gid is recorded as aborted, so that a late begin is refused.

        Raises:
            Conflict: the other decision won.
        """
        path, extra_ms = _waiting(_path(gid, "/abort"), wait)
        body = _encode(AbortRequest(reason_text))
        return await self._transaction(path, body, extra_ms + duration_ms(timeout, "timeout"), gid)

    async def get(self, gid: str, *, timeout: Duration = TIMEOUT) -> TransactionView:
        """Returns the whole transaction, with branches, failed or slow attempts, and its timeline.

        Raises:
            TransactionNotFound: no such gid.
        """
        return await self._read(_path(gid, ""), TransactionView, timeout)

    async def list(
        self,
        *,
        status: str | None = None,
        pattern: str | None = None,
        name: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        attention: bool | None = None,
        older_than: Duration | None = None,
        limit: int = LIST_LIMIT,
        cursor: str | None = None,
        timeout: Duration = TIMEOUT,
    ) -> TransactionPage:
        """Returns one page of transactions, newest first; `next_cursor` leads to the next."""
        query: dict[str, str | int | None] = {
            "status": status,
            "pattern": pattern,
            "name": name,
            "key": key,
            "parent": parent,
            "attention": None if attention is None else str(attention).lower(),
            "older_than_ms": None if older_than is None else duration_ms(older_than, "older_than"),
            "limit": limit,
            "cursor": cursor,
        }
        asked = urlencode({word: value for word, value in query.items() if value is not None})
        return await self._read(f"/v1/transactions?{asked}", TransactionPage, timeout)

    async def finished(self, gids: Sequence[str], *, timeout: Duration = TIMEOUT) -> FinishedReply:
        """Asks which of at most 1,000 transactions have ended, and which the coordinator does not know."""
        if len(gids) > FINISHED_GIDS_MAX:
            raise ValueError(f"finished takes at most {FINISHED_GIDS_MAX} gids, not {len(gids)}: ask in pages")
        body = _encode(FinishedRequest(list(gids)))
        reply = await self._send("POST", "/v1/transactions/finished", body, duration_ms(timeout, "timeout"))
        return _decode(reply, FinishedReply)

    async def announce(
        self, service: str, instance_id: str, request: InstanceRequest, *, timeout: Duration = TIMEOUT
    ) -> None:
        """Announces an instance of a service until its lease ends; repeat it before that."""
        path = f"/v1/services/{_name(service)}/instances/{_name(instance_id)}"
        await self._send("PUT", path, _encode(request), duration_ms(timeout, "timeout"))

    async def withdraw(self, service: str, instance_id: str, *, timeout: Duration = TIMEOUT) -> None:
        """Takes an instance away; repeatable."""
        path = f"/v1/services/{_name(service)}/instances/{_name(instance_id)}"
        await self._send("DELETE", path, b"", duration_ms(timeout, "timeout"))

    async def service(self, name: str, *, timeout: Duration = TIMEOUT) -> ServiceView:
        """Returns the live instances of a service."""
        return await self._read(f"/v1/services/{_name(name)}", ServiceView, timeout)

    async def services(self, *, timeout: Duration = TIMEOUT) -> ServicePage:
        """Returns the announced services and how many live instances each has."""
        return await self._read("/v1/services", ServicePage, timeout)

    async def _read(self, path: str, kind: type[T], timeout: Duration) -> T:
        return _decode(await self._send("GET", path, b"", duration_ms(timeout, "timeout")), kind)

    async def _transaction(self, path: str, body: bytes, timeout_ms: int, gid: str | None) -> TransactionReply:
        reply = await self._send("POST", path, body, timeout_ms)
        try:
            said = _decode_transaction(reply.body)
        except msgspec.MsgspecError as error:
            raise _not_ours(reply) from error
        if gid is not None and said.gid != gid:
            raise _not_ours(reply)
        return said

    async def _send(self, method: str, path: str, body: bytes, timeout_ms: int) -> Reply:
        target = self._http.get().target(self.url + path, method=method)
        try:
            reply = await target.call(body, self._headers, timeout_ms=timeout_ms)
        except RpcError as error:
            raise CoordinatorUnavailable(
                f"no answer from the coordinator: {error}", maybe_written=not error.safety.repeatable
            ) from error
        if 200 <= reply.status < 300:  # noqa: PLR2004 - RFC 9110's successful answers
            return reply
        raise _failure(reply)


def _failure(reply: Reply) -> CoordinatorError:
    """Returns what an answer other than 2xx says. Only a problem of a known type is the coordinator's word."""
    try:
        said = _decode_problem(reply.body)
    except msgspec.MsgspecError:
        return _not_ours(reply)
    slug = problems.slug_of(said.type)
    if reply.status == _OVERLOADED_STATUS and slug == problems.OVERLOADED:
        wait = _retry_after(reply)
        return CoordinatorOverloaded(f"the coordinator is overloaded: repeat after {wait}", retry_after=wait)
    if reply.status >= 500 or slug in _TRANSIENT:  # noqa: PLR2004 - RFC 9110's server errors
        return CoordinatorUnavailable(f"the coordinator answers {reply.status}: {said.title}", maybe_written=True)
    if not said.type.startswith(problems.TYPE_BASE):
        return _not_ours(reply)
    return _REFUSALS.get(slug, CoordinatorRefused)(said)


def _not_ours(reply: Reply) -> CoordinatorUnavailable:
    return CoordinatorUnavailable(
        f"HTTP {reply.status} with a body that is not the coordinator's: is there a proxy, and is PLACET_URL right?",
        maybe_written=True,
    )


def _retry_after(reply: Reply) -> timedelta:
    text = reply.header("retry-after") or ""
    if not text.isdecimal():  # the date form needs a clock in agreement with the server's
        return RETRY_AFTER_DEFAULT
    return min(timedelta(seconds=min(int(text), 3_600)), RETRY_AFTER_MAX)


def _decode(reply: Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except msgspec.MsgspecError as error:
        raise _not_ours(reply) from error


def _path(gid: str, rest: str) -> str:
    if not matches_gid(gid):
        raise ValueError(f"gid {gid!r}: 1 to 128 characters of A-Z a-z 0-9 _ - .")
    return f"/v1/transactions/{gid}{rest}"


def _name(text: str) -> str:
    if not matches_branch_id(text):
        raise ValueError(f"service or instance {text!r}: 1 to 64 characters of A-Z a-z 0-9 _ - .")
    return text


def _waiting(path: str, wait: Duration | None) -> tuple[str, int]:
    if wait is None:
        return path, 0
    wait_ms = min(duration_ms(wait, "wait"), WAIT_MS_MAX)
    return f"{path}?wait_ms={wait_ms}", wait_ms
