"""Requests in this process's memory: what one instance has run, as long as it lives."""

from collections import OrderedDict
from itertools import islice

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.idempotency.store import Found, Request, RequestsUnavailable, State, StoredAnswer

MAX_REQUESTS = 100_000
_PURGED_AT_ONCE = 16


class _Entry:
    __slots__ = ("answer", "fingerprint", "known_until", "runner", "running_until")

    def __init__(self, request: Request, running_until: float, known_until: float) -> None:
        self.fingerprint = request.fingerprint
        self.runner = request.runner
        self.running_until = running_until
        self.known_until = known_until
        self.answer: StoredAnswer | None = None


class MemoryRequests:
    """Requests in memory; satisfies `RequestStore`.

    Args:
        clock: where time comes from.
        max_requests: keys at a time. Beyond it new requests are refused: to forget a known key before its time would
            break its promise.
    """

    def __init__(self, clock: Clock = SYSTEM_CLOCK, *, max_requests: int = MAX_REQUESTS) -> None:
        self._now = clock.monotonic
        self._max_requests = max_requests
        self._entries: OrderedDict[tuple[str, str], _Entry] = OrderedDict()
        self._running: dict[tuple[str, str], _Entry] = {}

    async def begin(self, request: Request, *, running_ms: int, keep_ms: int, again: bool) -> Found:
        """Notes that a request is run from now on."""
        now = self._now()
        entry = self._entries.get(request[:2])
        if entry is not None and entry.known_until > now:
            if entry.fingerprint != request.fingerprint:
                return Found(_state(entry, now), is_same=False)
            state = _state(entry, now)
            if state is not State.LOST or not again:
                return Found(state, answer=entry.answer)
        elif entry is None and len(self._entries) >= self._max_requests:
            await self.purge(_PURGED_AT_ONCE)
            if len(self._entries) >= self._max_requests:
                raise RequestsUnavailable(f"max_requests ({self._max_requests}) keys are known")
        new = _Entry(request, now + running_ms / 1000, now + keep_ms / 1000)
        self._entries[request[:2]] = self._running[request[:2]] = new
        self._entries.move_to_end(request[:2])
        return Found(State.MINE)

    async def keep(self, runner: str, *, running_ms: int) -> None:
        """Says that a runner still lives."""
        now = self._now()
        for entry in self._running.values():
            if entry.runner == runner and entry.running_until > now:
                entry.running_until = now + running_ms / 1000

    async def finish(self, request: Request, answer: StoredAnswer) -> None:
        """Keeps an answer."""
        entry = self._mine(request)
        if entry is not None:
            entry.answer = answer
            del self._running[request[:2]]

    async def forget(self, request: Request) -> None:
        """Forgets a request."""
        if self._mine(request) is not None:
            del self._entries[request[:2]], self._running[request[:2]]

    async def lose(self, request: Request) -> None:
        """Notes that a request was stopped."""
        entry = self._mine(request)
        if entry is not None:
            entry.running_until = self._now()

    async def purge(self, limit: int) -> int:
        """Removes keys whose time is over, the oldest first."""
        now = self._now()
        over = [key for key, entry in islice(self._entries.items(), limit) if entry.known_until <= now]
        for key in over:
            del self._entries[key]
            self._running.pop(key, None)
        return len(over)

    def _mine(self, request: Request) -> _Entry | None:
        entry = self._entries.get(request[:2])
        if entry is None or entry.answer is not None or entry.runner != request.runner:
            return None
        return entry


def _state(entry: _Entry, now: float) -> State:
    if entry.answer is not None:
        return State.DONE
    return State.RUNNING if entry.running_until > now else State.LOST
