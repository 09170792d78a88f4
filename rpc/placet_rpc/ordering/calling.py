"""The client's half: calls with one key wait for each other, are numbered, and go to the key's owner."""

import asyncio
from collections import OrderedDict, deque
from typing import Any, Protocol
from uuid import uuid4

from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.errors import CallRefused, CallTimeout, LimitReached, OutOfOrder, RpcError, Safety
from placet_rpc.filters import Proceed
from placet_rpc.invocation import Invocation
from placet_rpc.ordering.owner import Owners
from placet_rpc.ordering.stamp import MEMBER, Stamp
from placet_rpc.registry.snapshot import Snapshot

MAX_WAITING = 128
MAX_LANES = 65_536
ASK_AGAIN_FIRST_SECONDS = 0.02
ASK_AGAIN_CAP_SECONDS = 0.5
MOVING = frozenset({"moved", "handing_over"})
"""Reasons of a server that does not own the key, or not yet."""


class Snapshots(Protocol):
    """Where the instances of services are known; a `Directory`."""

    def snapshot(self, service: str) -> Snapshot:
        """Returns the latest snapshot, the same object until something changes."""
        ...


class _Lane:
    """The calls of this client with one key.

    Attributes:
        client: who makes them, as far as servers can tell; another lane of the same key is another one, so that its
            numbers may begin anew.
        first: the lowest number that may still run.
    """

    __slots__ = ("_next", "_open", "client", "first", "in_flight", "waiting")

    def __init__(self, client: str) -> None:
        self.client = client
        self.waiting: deque[asyncio.Future[None]] = deque()
        self.in_flight = 0
        self.first = 1
        self._next = 1
        self._open: set[int] = set()

    def begin(self) -> int:
        """Returns the number of a call."""
        number = self._next
        self._next += 1
        self._open.add(number)
        return number

    def end(self, number: int) -> None:
        """A call has ended, or is given up."""
        self._open.discard(number)
        self.first = min(self._open, default=self._next)

    def pass_on(self, max_in_flight: int) -> None:
        """Lets those who wait longest go on."""
        while self.waiting and self.in_flight < max_in_flight:
            turn = self.waiting.popleft()
            if not turn.done():
                self.in_flight += 1
                turn.set_result(None)


class OrderedCalls:
    """Keeps the order of calls with a key; a `ClientFilter` for `Seams.ordering`.

    A call that fails gives its number up: the server will run it before the next one or never. Whether to go on after
    a failure of unknown outcome is the caller's to say, by awaiting one call before making the next.

    Args:
        max_in_flight: calls with one key that may be under way at once; the server puts them into order. More than one
            costs a caller nothing in order, and the key's throughput less waiting for the network.
        max_waiting: calls with one key that may wait for those; beyond it `LimitReached`.
        max_lanes: keys with a call under way or waiting; beyond it `LimitReached`.
        clock: where time comes from.
    """

    def __init__(
        self,
        *,
        max_in_flight: int = 1,
        max_waiting: int = MAX_WAITING,
        max_lanes: int = MAX_LANES,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if min(max_in_flight, max_waiting, max_lanes) < 1:
            raise ValueError("max_in_flight, max_waiting and max_lanes must be at least 1")
        self._max_in_flight, self._max_waiting, self._max_lanes = max_in_flight, max_waiting, max_lanes
        self._clock = clock
        self._client = uuid4().hex
        self._made = 0
        self._lanes: OrderedDict[tuple[str, str], _Lane] = OrderedDict()
        self._snapshots: Snapshots | None = None
        self._owners: dict[str, tuple[Snapshot, Owners]] = {}

    def attach(self, snapshots: Snapshots) -> None:
        """Says where instances are known; the client does so. Without it calls go wherever the balancer sends them."""
        self._snapshots = snapshots

    async def invoke(self, call: Invocation, proceed: Proceed) -> Any:
        """Makes a call in its turn."""
        if not call.key:
            return await proceed(call)
        began_at = self._clock.monotonic()
        ends_at = began_at + call.timeout_ms / 1000
        lane = self._lane(call)
        await self._turn(lane, call, ends_at)
        number = lane.begin()
        try:
            return await self._send(lane, number, call, proceed, ends_at)
        finally:
            lane.end(number)
            lane.in_flight -= 1
            lane.pass_on(self._max_in_flight)

    # -- waiting ------------------------------------------------------------------------------------------------

    def _lane(self, call: Invocation) -> _Lane:
        name = (call.service.key, call.key)
        lane = self._lanes.get(name)
        if lane is None:
            self._forget_idle()
            if len(self._lanes) >= self._max_lanes:
                raise LimitReached(f"max_lanes ({self._max_lanes}) ordering keys are in use", limit="max_lanes")
            self._made += 1
            lane = self._lanes[name] = _Lane(f"{self._client}.{self._made}")
        self._lanes.move_to_end(name)
        return lane

    def _forget_idle(self) -> None:
        """Makes room by forgetting the lanes longest unused."""
        while len(self._lanes) >= self._max_lanes:
            name, lane = next(iter(self._lanes.items()))
            if lane.in_flight or lane.waiting:
                return
            del self._lanes[name]

    async def _turn(self, lane: _Lane, call: Invocation, ends_at: float) -> None:
        if lane.in_flight < self._max_in_flight and not lane.waiting:
            lane.in_flight += 1
            return
        if len(lane.waiting) >= self._max_waiting:
            message = f"max_waiting ({self._max_waiting}) calls of {call.method.name} wait for their ordering key"
            raise LimitReached(message, limit="max_waiting")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.waiting.append(turn)
        try:
            async with asyncio.timeout(ends_at - self._clock.monotonic()):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                lane.in_flight -= 1  # it was given to us just as we left
                lane.pass_on(self._max_in_flight)
            else:
                lane.waiting.remove(turn)
            if isinstance(error, TimeoutError):
                message = f"earlier calls of {call.method.name} with the same key took all the time"
                raise CallTimeout(message, safety=Safety.NOT_SENT) from None
            raise

    # -- sending ------------------------------------------------------------------------------------------------

    async def _send(self, lane: _Lane, number: int, call: Invocation, proceed: Proceed, ends_at: float) -> Any:
        """Sends a call to its owner, whoever that is by then, until it was taken or its time is up."""
        is_free = not call.instance  # else its caller has said where it goes
        pause_seconds = ASK_AGAIN_FIRST_SECONDS
        while True:
            if is_free:
                call.instance = self._owner(call)
            call.extra = {**call.extra, MEMBER: str(Stamp(lane.client, number, lane.first))}
            call.timeout_ms = int((ends_at - self._clock.monotonic()) * 1000)
            if call.timeout_ms <= 0:
                message = f"no time was left for {call.method.name} when its turn came"
                raise CallTimeout(message, safety=Safety.NOT_SENT)
            try:
                return await proceed(call)
            except RpcError as error:
                if self._is_elsewhere(call, error) and is_free:
                    pause_seconds = ASK_AGAIN_FIRST_SECONDS
                elif not _may_be_taken_later(error) or ends_at - self._clock.monotonic() <= pause_seconds:
                    raise
                else:
                    await self._clock.sleep(pause_seconds)
                    pause_seconds = min(2 * pause_seconds, ASK_AGAIN_CAP_SECONDS)

    def _is_elsewhere(self, call: Invocation, error: RpcError) -> bool:
        """True if nothing ran and the key has another owner by now."""
        return error.safety.repeatable and call.instance != self._owner(call)

    def _owner(self, call: Invocation) -> str:
        if self._snapshots is None:
            return ""
        service = call.service.key
        snapshot = self._snapshots.snapshot(service)
        known = self._owners.get(service)
        if known is None or known[0] is not snapshot:
            known = self._owners[service] = (snapshot, Owners.of(snapshot))
        return known[1].owner(call.key)


def _may_be_taken_later(error: RpcError) -> bool:
    """True for refusals that end by themselves: by a new view of ours or of the server's, or by an earlier call."""
    return isinstance(error, OutOfOrder) or (isinstance(error, CallRefused) and error.reason in MOVING)
