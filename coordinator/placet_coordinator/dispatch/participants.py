"""Calls of branches over the built-in RPC; satisfies the port `Participants`. A call is one request, never repeated."""

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Raw

from placet_contract import headers as names
from placet_contract.limits import JSON_DEPTH_MAX
from placet_contract.outcomes import Verdict, classify
from placet_contract.transactions import NULL
from placet_contract.vocabulary import FORWARD_OPERATIONS, Outcome
from placet_coordinator.core.transaction import Branch
from placet_coordinator.dispatch.endpoint import Endpoint, Endpoints, Unreachable
from placet_coordinator.dispatch.queue import CONCURRENCY, ParticipantQueue
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.participants import BranchCall, CallEnd
from placet_rpc import HeaderBlock, HeaderTemplate, Reply, RpcError, Safety, header_block

PARTICIPANTS_MAX = 10_000
"""Queues that are kept for participants without a call in flight."""

_HEADERS = HeaderTemplate(
    names.GID,
    names.BRANCH,
    names.OPERATION,
    names.ATTEMPT,
    names.DEADLINE_MS,
    names.BEGUN_AT_MS,
    names.TIME_MS,
    names.IDEMPOTENCY_KEY,
)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.decode
_ECHO = names.OUTCOME_ECHO


class RpcParticipants:
    """Calls participants through the built-in RPC: over its TCP transport where an instance offers it, else HTTP.

    Args:
        concurrency: calls in flight at one participant.

    Attributes:
        now_ms: the database's clock.
    """

    def __init__(self, endpoints: Endpoints, clock: Clock, concurrency: int = CONCURRENCY) -> None:
        self._endpoints, self._concurrency = endpoints, concurrency
        self.now_ms = clock.now_ms
        self._queues: dict[str, ParticipantQueue] = {}
        self._loop = asyncio.get_running_loop()

    def call(self, call: BranchCall, ended: Callable[[CallEnd], None]) -> None:
        """Make one call; see the port."""
        try:
            endpoint = self._endpoints.find(call.branch, call.operation)
        except Unreachable as error:
            participant = self._endpoints.participant_of(call.branch, call.operation)
            self.soon(ended, self.not_sent(participant, str(error)))
            return
        queue = self._queue(endpoint.participant)
        flight = _Flight(self, call, endpoint, queue, ended)
        queue.enter(flight.start, flight.refuse)

    def avoid(self, endpoint: Endpoint) -> None:
        """Hear that a call could not be sent to an endpoint."""
        self._endpoints.avoid(endpoint)

    def soon(self, ended: Callable[[CallEnd], None], end: CallEnd) -> None:
        """Report an end once the step that asked for the call is over."""
        self._loop.call_soon(ended, end)

    def not_sent(self, participant: str, detail: str) -> CallEnd:
        """Return the end of a call that never left."""
        now_ms = self.now_ms()
        return CallEnd(
            participant=participant,
            verdict=Verdict(Outcome.UNKNOWN, detail=detail),
            result=NULL,
            sent=False,
            started_at_ms=now_ms,
            duration_ms=0,
            deadline_at_ms=now_ms,
        )

    def _queue(self, participant: str) -> ParticipantQueue:
        queue = self._queues.get(participant)
        if queue is None:
            if len(self._queues) >= PARTICIPANTS_MAX:
                self._queues = {name: kept for name, kept in self._queues.items() if not kept.is_idle}
            queue = self._queues[participant] = ParticipantQueue(self._concurrency)
        return queue


class _Flight:
    """One call on its way; the transport puts its outcome here (`placet_rpc.Completion`)."""

    __slots__ = ("_call", "_ended", "_endpoint", "_is_sending", "_owner", "_queue", "_started_at_ms")

    def __init__(
        self,
        owner: RpcParticipants,
        call: BranchCall,
        endpoint: Endpoint,
        queue: ParticipantQueue,
        ended: Callable[[CallEnd], None],
    ) -> None:
        self._owner, self._call, self._endpoint = owner, call, endpoint
        self._queue, self._ended = queue, ended
        self._started_at_ms = 0
        self._is_sending = False

    def start(self) -> None:
        """Send it."""
        self._is_sending = True
        try:
            body, headers = self._message()
        except ValueError as error:
            self._end(Verdict(Outcome.UNKNOWN, detail=f"the call can't be sent as it is: {error}"), NULL, sent=False)
        else:
            timeout_ms = self._call.branch.timeout_ms
            self._endpoint.target.send(body, headers, timeout_ms=timeout_ms, completion=self)
        self._is_sending = False

    def _message(self) -> tuple[bytes, HeaderBlock]:
        call = self._call
        self._started_at_ms = now_ms = self._owner.now_ms()
        transaction, branch = call.transaction, call.branch
        gid, branch_id, operation = transaction.gid, branch.branch_id, call.operation
        headers = _HEADERS.fill(
            gid,
            branch_id,
            operation,
            call.attempt,
            branch.timeout_ms,
            transaction.created_at_ms,
            now_ms,
            names.idempotency_key(gid, branch_id, operation),
        )
        if branch.headers or transaction.traceparent:
            headers = HeaderBlock(headers + _own_headers(branch, transaction.traceparent))
        return _body(call), headers

    def refuse(self) -> None:
        """End it unsent: there was no place in the participant's queue for too long."""
        participant = self._endpoint.participant
        detail = f"{participant} had no place for another call within the longest wait"
        self._ended(self._owner.not_sent(participant, detail))

    def done(self) -> bool:
        """Say that somebody always waits: a branch call is never given up before its time."""
        return False

    def set_result(self, reply: Reply, /) -> None:
        """Take the reply."""
        call = self._call
        verdict = classify(call.operation, reply.status, reply.body)
        verdict = self._checked_echo(reply, verdict)
        result = NULL
        if verdict.outcome is Outcome.DONE and call.operation in FORWARD_OPERATIONS:
            result, note = _kept_result(reply.body)
            if note:
                verdict = msgspec.structs.replace(verdict, detail=note)
        self._end(verdict, result, sent=True)

    def set_exception(self, error: RpcError, /) -> None:
        """Take the failure."""
        sent = error.safety not in (Safety.NOT_SENT, Safety.NOT_EXECUTED)
        if not sent:
            self._owner.avoid(self._endpoint)
        self._end(Verdict(Outcome.UNKNOWN, detail=f"{error.code}: {error.message}"), NULL, sent=sent)

    def _end(self, verdict: Verdict, result: Raw, *, sent: bool) -> None:
        self._queue.leave()
        started_at_ms = self._started_at_ms
        duration_ms = self._owner.now_ms() - started_at_ms
        deadline_at_ms = started_at_ms + self._call.branch.timeout_ms
        end = CallEnd(
            participant=self._endpoint.participant,
            verdict=verdict,
            result=result,
            sent=sent,
            started_at_ms=started_at_ms,
            duration_ms=duration_ms,
            deadline_at_ms=deadline_at_ms,
        )
        if self._is_sending:
            # The transport refused at once: the driver is in the middle of a step, and must not be entered again.
            self._owner.soon(self._ended, end)
        else:
            self._ended(end)

    def _checked_echo(self, reply: Reply, verdict: Verdict) -> Verdict:
        """An answer of somebody else (a proxy, another service) is no answer, whatever its status says."""
        if verdict.outcome is Outcome.UNKNOWN and not verdict.answered:
            return verdict
        echo = reply.header(_ECHO)
        if echo is None and not self._endpoint.must_echo:
            return verdict
        call = self._call
        if echo == names.idempotency_key(call.transaction.gid, call.branch.branch_id, call.operation):
            return verdict
        said = "without its echo" if echo is None else "with the echo of another call"
        return Verdict(Outcome.UNKNOWN, detail=f"HTTP {reply.status} {said}: not the participant's own answer")


def _own_headers(branch: Branch, traceparent: str | None) -> bytes:
    fields = list(branch.headers.items())
    if traceparent:
        fields.append((names.TRACEPARENT, traceparent))
    return header_block(fields)


class _Envelope(msgspec.Struct):
    payload: Raw
    result: Raw
    results: dict[str, Raw]


def _body(call: BranchCall) -> bytes:
    branch = call.branch
    if not branch.envelope:
        return bytes(branch.payload)
    transaction = call.transaction
    results = {
        other.branch_id: progress.result
        for other, progress in zip(transaction.branches, transaction.progress, strict=True)
        if other.branch_id in branch.after
    }
    own = transaction.progress[call.index].result
    return _encode(_Envelope(branch.payload, own, results))


def _kept_result(body: bytes) -> tuple[Raw, str]:
    """Return a forward result as it is kept, and a note if it can't be: the outcome stays done."""
    if not body:
        return NULL, ""
    try:
        value = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return NULL, "the answer's body is not JSON that can be kept; the result is null"
    if body.count(b"[") + body.count(b"{") > JSON_DEPTH_MAX and _depth(value) > JSON_DEPTH_MAX:
        return NULL, f"the answer's body is nested deeper than {JSON_DEPTH_MAX}; the result is null"
    return Raw(body), ""


def _depth(value: object) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        below: list[object] = []
        for each in level:
            if isinstance(each, dict):
                below.extend(each.values())
            elif isinstance(each, list):
                below.extend(each)
        level = below
    return deepest
