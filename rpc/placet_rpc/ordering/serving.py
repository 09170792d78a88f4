"""The server's half: runs the calls of one key one at a time, in the order of their callers, if the key is its own."""

from collections import OrderedDict
from datetime import timedelta
from typing import Any

from placet_rpc import outcome
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.contract import ServiceSpec, service_of
from placet_rpc.errors import CallRepeated, OutOfOrder
from placet_rpc.ordering.key_queue import KeyQueue, QueueLimits, Refused
from placet_rpc.ordering.ownership import Ownership
from placet_rpc.ordering.peers import KeyOwner
from placet_rpc.ordering.service_view import Claim, Release
from placet_rpc.ordering.stamp import MEMBER, Stamp
from placet_rpc.served_call import Answer, Proceed, ServedCall

MAX_WAITING = 128
MAX_KEYS = 65_536
MAX_CLIENTS = 4_096
GAP = timedelta(seconds=1)
REMEMBERED = timedelta(minutes=10)
KEPT_BYTES = 4_096
HAND_OVER_SECONDS = 1.0
"""How long a call waits here for an earlier owner; after it the caller asks again, by then perhaps elsewhere."""
RETRY_AFTER_MS = 50
_SWEPT_AT_ONCE = 4

_REFUSALS = {
    Refused.REPEATED: (outcome.TAKEN_BEFORE, CallRepeated.code, "a call with this number was taken before"),
    Refused.ONGOING: (outcome.ONGOING, "ongoing", "a call with this number is waiting for its turn"),
    Refused.OUT_OF_ORDER: (outcome.NOT_ITS_TURN, OutOfOrder.code, "an earlier call with this key did not come in time"),
    Refused.FULL: (outcome.AT_LIMIT, "overloaded", "too many calls wait for this key"),
    Refused.MOVED: (outcome.NOT_ITS_TURN, "moved", "another instance owns this key"),
    Refused.EXPIRED: (outcome.NOT_ITS_TURN, "expired", "the call's time was up before its turn came"),
}
_NOT_OWNED = {
    "moved": "another instance owns this key",
    "handing_over": "an earlier owner of this key has not let go of it yet",
    "cut_off": "the registry has not been heard for so long that another instance may own this key",
}
_NEVER_HERE = -1
"""The client's half asks again where the key is by then; a cluster strategy would ask the same instance."""


class OrderedServing:
    """Keeps the order of calls with a key; a `ServerFilter`. It stands last, next to the implementation.

    Args:
        ownership: which keys are this server's; None: all, as where there is one instance.
        max_waiting: calls that may wait for one key; further ones are refused.
        max_keys: keys that are known at a time; calls with further ones are refused.
        max_clients: clients whose place in the order of one key is known; further ones are refused.
        gap: how long a call waits for an earlier one of its client that has not come.
        remembered: how long after its last call a client's place in a key's order is known. A request that is on its
            way for longer would be taken for a new one.
        kept_bytes: the answer of a client's last call with a key is kept for its repeat if it is no longer than this.
        clock: where time comes from.
    """

    def __init__(
        self,
        ownership: Ownership | None = None,
        *,
        max_waiting: int = MAX_WAITING,
        max_keys: int = MAX_KEYS,
        max_clients: int = MAX_CLIENTS,
        gap: timedelta = GAP,
        remembered: timedelta = REMEMBERED,
        kept_bytes: int = KEPT_BYTES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if min(max_waiting, max_keys, max_clients) < 1:
            raise ValueError("max_waiting, max_keys and max_clients must be at least 1")
        self._ownership = ownership
        self._max_keys = max_keys
        self._limits = QueueLimits(
            max_waiting, max_clients, gap.total_seconds(), remembered.total_seconds(), kept_bytes
        )
        self._clock = clock
        self._queues: OrderedDict[tuple[str, str], KeyQueue] = OrderedDict()

    def own_services(self) -> list[tuple[ServiceSpec, Any]]:
        """Returns what the server is to offer for this filter: the way for other instances to ask for keys."""
        return [] if self._ownership is None else [(service_of(KeyOwner), _KeyOwner(self, self._ownership))]

    async def answer(self, call: ServedCall, proceed: Proceed) -> Answer:
        """Answers a call in its turn; one without a key passes."""
        context = call.context
        if not context.key:
            return await proceed(call)
        service = call.service.key
        if self._ownership is not None:
            left_ms = context.left_ms
            seconds = HAND_OVER_SECONDS if left_ms is None else min(HAND_OVER_SECONDS, max(left_ms, 0) / 1000)
            reason = await self._ownership.admit(service, context.key, seconds)
            if reason:
                return call.refused(outcome.NOT_ITS_TURN, reason, _NOT_OWNED[reason], retry_after_ms=_NEVER_HERE)
        now = self._clock.monotonic()
        queue = self._queue(service, context.key, now)
        if queue is None:
            detail = f"max_keys ({self._max_keys}) ordering keys are known"
            return call.refused(outcome.AT_LIMIT, "overloaded", detail, retry_after_ms=RETRY_AFTER_MS)
        stamp = Stamp.parse(context.extra.get(MEMBER, ""))
        left_ms = context.left_ms
        left_seconds = None if left_ms is None else max(left_ms, 0) / 1000
        answer = await queue.run(stamp, now, left_seconds, lambda: proceed(call))
        if isinstance(answer, Refused):
            status, reason, detail = _REFUSALS[answer]
            after_ms = _NEVER_HERE if status == outcome.NOT_ITS_TURN else RETRY_AFTER_MS
            return call.refused(status, reason, detail, retry_after_ms=after_ms)
        return answer

    async def drain(self, service: str, key: str) -> None:
        """Refuses what waits for a key, and returns when nothing of it runs."""
        queue = self._queues.get((service, key))
        if queue is not None:
            queue.refuse_all(Refused.MOVED)
            await queue.idle()

    async def aclose(self) -> None:
        """Tells other instances that nothing runs here any more."""
        if self._ownership is not None:
            await self._ownership.aclose()

    def _queue(self, service: str, key: str, now: float) -> KeyQueue | None:
        name = (service, key)
        self._sweep(now - self._limits.remembered_seconds)
        queue = self._queues.get(name)
        if queue is None:
            if len(self._queues) >= self._max_keys:
                return None
            queue = self._queues[name] = KeyQueue(self._limits)
        self._queues.move_to_end(name)
        return queue

    def _sweep(self, forgotten_before: float) -> None:
        """Forgets a few keys that nobody used for long; each call does so, so that none has much to do."""
        for _ in range(min(_SWEPT_AT_ONCE, len(self._queues))):
            name, queue = next(iter(self._queues.items()))
            if queue.used_at >= forgotten_before:
                return
            if queue.is_idle:
                del self._queues[name]
            else:
                self._queues.move_to_end(name)


class _KeyOwner:
    """Answers other instances."""

    def __init__(self, serving: OrderedServing, ownership: Ownership) -> None:
        self._serving, self._ownership = serving, ownership

    async def release(self, service: str, key: str, to: str, epoch: str, revision: int) -> Release:
        """Lets go of a key."""
        return await self._ownership.release(Claim(service, key, to, epoch, revision), self._serving.drain)

    async def left(self, service: str, instance_id: str) -> None:
        """Takes an instance's word that it runs nothing any more."""
        self._ownership.note_left(service, instance_id)
