"""How a server gets a key of its own that others may still run calls of: it asks them, and whomever they name."""

import asyncio
from typing import Protocol

from placet_rpc.clock import Clock
from placet_rpc.ordering.service_view import Claim, EarlierOwner, Release, ServiceView
from placet_rpc.registry.endpoint import Endpoint

ASK_FIRST_SECONDS = 0.05
ASK_CAP_SECONDS = 1.0
MAX_ASKED = 1_000


class OtherInstances(Protocol):
    """How a server talks to the other instances of its services; `peers.Peers` does so over the transports."""

    async def ask(self, endpoint: Endpoint, claim: Claim, seconds: float) -> Release | None:
        """Asks an instance to let go of a key, waiting at most so long; None: there is no answer."""
        ...

    async def say_left(self, endpoint: Endpoint, service: str, instance_id: str) -> None:
        """Tells an instance that this one runs nothing of a service any more; it may not be heard."""
        ...


class Taking:
    """The way to one key.

    A server that has just come knows only who is there now; who has left a moment before may still run calls. So it
    asks until it meets one that has been there for a whole lease, and whomever that one names.

    Args:
        claim: what is wanted, by whom.
        view: what is known.
        others: how they are asked.
        clock: where time comes from.
    """

    def __init__(self, claim: Claim, view: ServiceView, others: OtherInstances, clock: Clock) -> None:
        self._claim, self._view, self._others, self._clock = claim, view, others, clock
        self._ends: dict[str, float] = {}
        self._endpoints: dict[str, Endpoint] = {}
        self._asked = {claim.to}
        self._knows = False

    async def run(self, *, waits_to_know: bool) -> None:
        """Returns when all have let go of the key that may run calls of it, or can't be alive any more.

        Args:
            waits_to_know: if nobody has been there for a lease, wait until this server has.
        """
        self._ends = self._view.to_ask(self._claim.key)
        self._knows = self._clock.monotonic() >= self._view.knows_at
        while True:
            open_ = {name: end for name, end in self._ends.items() if name not in self._asked}
            self._asked.update(open_)
            await asyncio.gather(*(self._ask_until(name, end) for name, end in open_.items()))
            if any(name not in self._asked for name in self._ends):
                continue
            if self._knows or not await self._ask_another():
                break
        if not self._knows and waits_to_know:
            await self._clock.sleep(max(self._view.knows_at - self._clock.monotonic(), 0))

    async def _ask_another(self) -> bool:
        """Asks one more instance for what it knows; False: there is none left."""
        another = next((one for one in self._view.endpoints() if one.instance_id not in self._asked), None)
        if another is None:
            return False
        self._asked.add(another.instance_id)
        left = self._view.knows_at - self._clock.monotonic()
        if left > 0:
            self._take_in(await self._others.ask(another, self._claim, left))
        return True

    async def _ask_until(self, instance_id: str, end: float) -> None:
        pause_seconds = ASK_FIRST_SECONDS
        while (left := end - self._clock.monotonic()) > 0 and instance_id not in self._view.left:
            endpoint = self._view.endpoint(instance_id) or self._endpoints.get(instance_id)
            if endpoint is not None:
                answer = await self._others.ask(endpoint, self._claim, left)
                self._take_in(answer)
                if answer is not None and answer.is_released:
                    return
            await self._clock.sleep(min(pause_seconds, max(end - self._clock.monotonic(), 0)))
            pause_seconds = min(2 * pause_seconds, ASK_CAP_SECONDS)

    def _take_in(self, answer: Release | None) -> None:
        if answer is None or not answer.is_released:
            return
        self._knows = self._knows or answer.knows
        for earlier in answer.earlier:
            if len(self._ends) < MAX_ASKED:
                self._note(earlier)

    def _note(self, earlier: EarlierOwner) -> None:
        name = earlier.instance_id
        if name in self._view.left:
            return
        if earlier.urls and name not in self._endpoints:
            self._endpoints[name] = Endpoint(instance_id=name, urls=earlier.urls)
        end = self._clock.monotonic() + earlier.left_ms / 1000
        self._ends[name] = max(end, self._ends.get(name, 0.0))
