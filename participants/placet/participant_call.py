"""One try of one branch, sent by the initiator itself, and what its answer means."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from urllib.parse import urlsplit

from placet.directory import Directory, NoInstance
from placet.errors import BranchOutcomeUnknown, Rejected
from placet.loop_clients import LoopClients
from placet_contract import headers
from placet_contract.limits import REPLY_BYTES_MAX
from placet_contract.outcomes import Verdict, classify
from placet_contract.vocabulary import Operation, Outcome
from placet_rpc import HeaderBlock, HeaderTemplate, Reply, RpcError, Target, header_block

TARGETS_MAX = 1_024
INSTANCES_TRIED_MAX = 3
_FIRST_ATTEMPT = 1
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})

_common = HeaderTemplate(
    headers.GID,
    headers.BRANCH,
    headers.OPERATION,
    headers.ATTEMPT,
    headers.DEADLINE_MS,
    headers.BEGUN_AT_MS,
    headers.TIME_MS,
    headers.IDEMPOTENCY_KEY,
)


class Try(NamedTuple):
    """One try.

    Attributes:
        gid: the global transaction.
        branch_id: the branch.
        target: `service/action` or URL, as it was registered.
        body: the payload as JSON.
        begun_at_ms: when the transaction was begun, in milliseconds since 1970.
        timeout_ms: time for the answer.
        traceparent: the trace it belongs to, or empty.
        headers: the branch's own headers, sent with each of its calls.
    """

    gid: str
    branch_id: str
    target: str
    body: bytes
    begun_at_ms: int
    timeout_ms: int
    traceparent: str = ""
    headers: Mapping[str, str] = _NO_HEADERS


class ParticipantCaller:
    """Sends tries. Each is sent once: another instance is asked only if not a byte reached the one before.

    Args:
        directory: resolves targets.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._clients = LoopClients(REPLY_BYTES_MAX)
        self._targets: OrderedDict[str, Target] = OrderedDict()
        self._made_in: asyncio.AbstractEventLoop | None = None
        # Who has echoed once is an SDK participant: an answer without the echo then comes from something in between.
        self._echoing: OrderedDict[str, None] = OrderedDict()

    async def call(self, order: Try) -> bytes:
        """Sends the try and returns its result as JSON.

        Raises:
            Rejected: the participant said no.
            BranchOutcomeUnknown: anything else than a clear yes or no.
            ValueError: the target is no usable address; nothing was sent.
        """
        try:
            urls = (await self._directory.urls(order.target))[:INSTANCES_TRIED_MAX]
        except NoInstance as error:
            raise _unknown(order, f"not sent: {error}") from error
        ends_at = asyncio.get_running_loop().time() + order.timeout_ms / 1_000
        for left in range(len(urls) - 1, -1, -1):
            try:
                return self._result(order, await self._send(order, urls[-1 - left], ends_at))
            except RpcError as error:
                if not left or not error.safety.repeatable:
                    raise _unknown(order, str(error)) from error
        raise AssertionError("a resolved target has at least one URL")

    async def aclose(self) -> None:
        """Closes the connections; calls under way end as unknown."""
        self._targets.clear()
        self._made_in = None
        await self._clients.aclose()

    async def _send(self, order: Try, url: str, ends_at: float) -> Reply:
        left_ms = max(1, int((ends_at - asyncio.get_running_loop().time()) * 1_000))
        key = headers.idempotency_key(order.gid, order.branch_id, Operation.TRY)
        fields = _common.fill(
            order.gid,
            order.branch_id,
            Operation.TRY,
            _FIRST_ATTEMPT,
            left_ms,
            order.begun_at_ms,
            time.time_ns() // 1_000_000,
            key,
        )
        more = list(order.headers.items())
        if order.traceparent:
            more.append((headers.TRACEPARENT, order.traceparent))
        if more:
            fields = HeaderBlock(fields + header_block(more))
        return await self._target(f"{url}/{Operation.TRY}").call(order.body, fields, timeout_ms=left_ms)

    def _target(self, url: str) -> Target:
        loop = asyncio.get_running_loop()
        if self._made_in is not loop:
            self._targets.clear()
            self._made_in = loop
        target = self._targets.get(url)
        if target is None:
            target = self._targets[url] = self._clients.target(url, content_type="application/json")
            if len(self._targets) > TARGETS_MAX:
                self._targets.popitem(last=False)
        return target

    def _result(self, order: Try, reply: Reply) -> bytes:
        verdict = self._verdict(order, reply)
        place = {"gid": order.gid, "branch_id": order.branch_id, "target": order.target}
        if verdict.outcome is Outcome.DONE:
            return reply.body
        if verdict.outcome is Outcome.REJECTED:
            raise Rejected(**place, detail=verdict.detail, late=verdict.late)
        raise _unknown(order, verdict.detail)

    def _verdict(self, order: Try, reply: Reply) -> Verdict:
        expected = headers.idempotency_key(order.gid, order.branch_id, Operation.TRY)
        echo = reply.header(headers.OUTCOME_ECHO)
        speaker = _speaker(order.target)
        if echo is None and speaker in self._echoing:
            detail = f"HTTP {reply.status} without {headers.OUTCOME_ECHO}: not the participant's own answer"
            return Verdict(Outcome.UNKNOWN, detail=detail)
        if echo is not None and echo != expected:
            return Verdict(Outcome.UNKNOWN, detail=f"HTTP {reply.status} is the answer to another call")
        if echo is not None:
            self._echoing[speaker] = None
            if len(self._echoing) > TARGETS_MAX:
                self._echoing.popitem(last=False)
        return classify(Operation.TRY, reply.status, reply.body)


def _speaker(target: str) -> str:
    """Whoever answers for a target: the service, or the origin of a URL."""
    if target.startswith(("http://", "https://")):
        return urlsplit(target).netloc
    return target.partition("/")[0]


def _unknown(order: Try, detail: str) -> BranchOutcomeUnknown:
    return BranchOutcomeUnknown(gid=order.gid, branch_id=order.branch_id, target=order.target, detail=detail)
