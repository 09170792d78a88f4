"""The coordinator's HTTP calls, one method each: one attempt, a typed answer or a typed error."""

# ruff: noqa: ASYNC109 - the HTTP client keeps the time of a call itself, and a deadline is part of each call's contract

from collections.abc import Sequence
from datetime import timedelta
from typing import Self, TypeVar
from urllib.parse import urlencode

import msgspec

from placet.coordinator_answer import failure_of, transaction_of, value_of
from placet.duration import Duration, duration_ms
from placet.errors import CoordinatorOverloaded, CoordinatorUnavailable
from placet.loop_clients import LoopClients
from placet.node_addresses import NodeAddresses
from placet.tcp_ways import TcpWays
from placet_contract.ids import matches_branch_id, matches_gid
from placet_contract.limits import FINISHED_GIDS_MAX, LIST_LIMIT, WAIT_MS_MAX
from placet_contract.nodes import HealthReply, NodePage
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
from placet_rpc import NO_HEADERS, HeaderBlock, Reply, RpcError, header_block

TIMEOUT = timedelta(seconds=5)
"""Time of one attempt, unless the caller says otherwise."""

_HEALTH_TIMEOUT = timedelta(seconds=2)
_PAGE_REPLY_BYTES = 64 * 1024 * 1024

T = TypeVar("T")

_encode = msgspec.json.Encoder().encode
_EMPTY = b"{}"


class Coordinator:
    """An HTTP client of one coordinator. It sends each call once; all of them may be repeated.

    Every method raises `CoordinatorOverloaded` (nothing was written), `CoordinatorUnavailable` (`maybe_written` says
    whether it may have been) or `CoordinatorRefused` (a repeat gives the same answer). An answer that is not the
    coordinator's own, such as a proxy's error page, counts as unavailable. Where a method takes `node`, the node that
    began the transaction by its reply, the call goes there if that node is known to answer, else to `url`.

    Args:
        url: the coordinator's base URL.
        token: the bearer token, if it wants one.
        use_tcp: make calls over the RPC's TCP transport where the coordinator offers it; it is asked over HTTP.
    """

    def __init__(self, url: str, *, token: str | None = None, use_tcp: bool = True) -> None:
        self.url = url.rstrip("/")
        fields = [("content-type", "application/json")]
        if token:
            fields.append(("authorization", f"Bearer {token}"))
        self._headers = header_block(fields)
        self._clients = LoopClients(_PAGE_REPLY_BYTES)
        self._use_tcp = use_tcp
        self._ways = TcpWays(self._health_at)
        self._addresses = NodeAddresses(self.url, self.nodes, self._health_at)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the connections; calls under way end as unavailable."""
        await self._addresses.aclose()
        await self._ways.aclose()
        await self._clients.aclose()

    async def begin(
        self,
        request: BeginRequest,
        *,
        wait: Duration | None = None,
        node: str | None = None,
        timeout: Duration = TIMEOUT,
    ) -> TransactionReply:
        """Begins a transaction. With a gid in the request it may be repeated: the same content is begun once.

        Args:
            request: the plan.
            wait: hold the answer until the transaction is finished, or this has passed.
            node: where it is repeated, the node that began it.
            timeout: time for the answer, on top of `wait`.

        Raises:
            Conflict: aborted already.
            ContentDiffers: the gid is taken by another plan.
        """
        path, extra_ms = _waiting("/v1/transactions", wait)
        timeout_ms = extra_ms + duration_ms(timeout, "timeout")
        return await self._transaction(path, _encode(request), timeout_ms, request.gid, node)

    async def register(
        self, gid: str, branches: Sequence[BranchRequest], *, node: str | None = None, timeout: Duration = TIMEOUT
    ) -> TransactionReply:
        """Registers branches durably; repeatable with the same content.

        Raises:
            Conflict: the transaction is decided.
            ContentDiffers: a branch_id is taken by another branch.
        """
        body = _encode(RegisterRequest(list(branches)))
        return await self._transaction(_path(gid, "/branches"), body, duration_ms(timeout, "timeout"), gid, node)

    async def commit(
        self, gid: str, *, wait: Duration | None = None, node: str | None = None, timeout: Duration = TIMEOUT
    ) -> TransactionReply:
        """Decides to commit; repeatable.

        Raises:
            Conflict: the other decision won.
            TransactionNotFound: no such gid.
        """
        path, extra_ms = _waiting(_path(gid, "/commit"), wait)
        return await self._transaction(path, _EMPTY, extra_ms + duration_ms(timeout, "timeout"), gid, node)

    async def abort(
        self,
        gid: str,
        *,
        reason_text: str | None = None,
        wait: Duration | None = None,
        node: str | None = None,
        timeout: Duration = TIMEOUT,
    ) -> TransactionReply:
        """Decides to abort; repeatable. An unknown gid is recorded as aborted, so that a late begin is refused.

        Raises:
            Conflict: the other decision won.
        """
        path, extra_ms = _waiting(_path(gid, "/abort"), wait)
        body = _encode(AbortRequest(reason_text))
        return await self._transaction(path, body, extra_ms + duration_ms(timeout, "timeout"), gid, node)

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
        return value_of(reply, FinishedReply)

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

    async def nodes(self, *, timeout: Duration = TIMEOUT) -> NodePage:
        """Returns the coordinator's processes, and whether each lives."""
        return await self._read("/v1/nodes", NodePage, timeout)

    async def _read(self, path: str, kind: type[T], timeout: Duration) -> T:
        return value_of(await self._send("GET", path, b"", duration_ms(timeout, "timeout")), kind)

    async def _transaction(
        self, path: str, body: bytes, timeout_ms: int, gid: str | None, node: str | None
    ) -> TransactionReply:
        base_url = self._addresses.url_of(node)
        try:
            return transaction_of(await self._send("POST", path, body, timeout_ms, base_url), gid)
        except (CoordinatorUnavailable, CoordinatorOverloaded):
            self._addresses.failed(base_url)
            raise

    async def _send(self, method: str, path: str, body: bytes, timeout_ms: int, base_url: str | None = None) -> Reply:
        base_url = base_url or self.url
        tcp_url = self._ways.tcp_url_of(base_url) if self._use_tcp else None
        if tcp_url is not None:
            try:
                return await self._call(method, tcp_url + path, body, self._headers, timeout_ms)
            except CoordinatorUnavailable as error:
                if error.maybe_written:
                    raise
                self._ways.failed(base_url)  # nothing was sent, so it may be sent the other way
        return await self._call(method, base_url + path, body, self._headers, timeout_ms)

    async def _health_at(self, base_url: str) -> HealthReply:
        # Without the token: who answers there is not known yet.
        timeout_ms = duration_ms(_HEALTH_TIMEOUT, "timeout")
        return value_of(await self._call("GET", f"{base_url}/healthz", b"", NO_HEADERS, timeout_ms), HealthReply)

    async def _call(self, method: str, url: str, body: bytes, headers: HeaderBlock, timeout_ms: int) -> Reply:
        target = self._clients.target(url, method=method)
        try:
            reply = await target.call(body, headers, timeout_ms=timeout_ms)
        except RpcError as error:
            raise CoordinatorUnavailable(
                f"no answer from the coordinator: {error}", maybe_written=not error.safety.repeatable
            ) from error
        if 200 <= reply.status < 300:  # noqa: PLR2004 - RFC 9110's successful answers
            return reply
        raise failure_of(reply)


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
