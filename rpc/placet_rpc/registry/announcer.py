"""Keeps a server's services announced, whatever happens to the registry, until it is told to withdraw them."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta

from placet_contract.backoff import backoff_ms
from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock, within
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.registry import ASK_TIMEOUT, Registry, RegistryRefused, RegistryUnavailable

RECONCILE = timedelta(seconds=10)
"""An announcement is looked after at least so often; more often where a third of its lease is shorter."""
RETRY_FIRST_MS = 250
RETRY_CAP_MS = 5_000

_log = logging.getLogger("placet_rpc.registry")


class Announcer:
    """Announces one instance under some services, again and again.

    Args:
        registry: where; the announcer closes it.
        services: their keys.
        endpoint: the instance.
        clock: where time comes from.
        chance: where jitter comes from.

    Attributes:
        is_announced: true while the last announcement of all services was heard.
    """

    def __init__(
        self,
        registry: Registry,
        services: Iterable[str],
        endpoint: Endpoint,
        *,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        self.is_announced = False
        self._registry = registry
        self._services = tuple(services)
        self._endpoint = endpoint
        self._clock, self._chance = clock, chance or new_chance()
        self._pause = min(RECONCILE, registry.lease / 3).total_seconds()
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Announces, and goes on doing so. A registry that is down is no error: it is told when it is back.

        Raises:
            RegistryRefused: it will not be told, by any repetition.
            ValueError: this registry can't hold such an instance.
        """
        try:
            await self._announce()
        except BaseException:
            await self._withdraw_all()  # of several services some may be announced
            raise
        self._task = asyncio.create_task(self._keep_announced())

    async def withdraw(self) -> None:
        """Ends the announcements, at the registry too if it answers in time; if not, their leases end by themselves."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self.is_announced = False
        await self._withdraw_all()

    async def aclose(self) -> None:
        """Withdraws, unless that was done, and closes the registry."""
        await self.withdraw()
        await self._registry.aclose()

    async def _announce(self) -> None:
        asked = [self._registry.register(service, self._endpoint) for service in self._services]
        errors = [error for error in await asyncio.gather(*asked, return_exceptions=True) if error is not None]
        self.is_announced = not errors
        if errors:
            if not self._failures:
                _log.warning("%s is not announced, which is tried again: %s", self._endpoint.instance_id, errors[0])
            self._failures += 1
            for error in errors:
                if not isinstance(error, RegistryUnavailable):
                    raise error
        elif self._failures:
            _log.info("%s is announced again", self._endpoint.instance_id)
            self._failures = 0

    async def _keep_announced(self) -> None:
        while True:
            await self._clock.sleep(self._wait_seconds())
            try:
                await self._announce()
            except Exception:  # noqa: BLE001 - it was accepted once: the loop must not end before the server
                _log.debug("%s is refused", self._endpoint.instance_id, exc_info=True)

    async def _withdraw_all(self) -> None:
        asked = [self._registry.unregister(service, self._endpoint.instance_id) for service in self._services]
        try:
            await within(self._clock, ASK_TIMEOUT.total_seconds(), asyncio.gather(*asked))
        except (RegistryUnavailable, RegistryRefused, TimeoutError) as error:
            _log.warning("not withdrawn, so callers learn it from the end of the lease or from our refusal: %s", error)

    def _wait_seconds(self) -> float:
        if self._failures:
            chance = self._chance.random()
            return backoff_ms(self._failures, first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS, chance=chance) / 1000
        return self._pause * self._chance.uniform(0.8, 1.2)
