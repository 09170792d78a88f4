"""A participant tells the coordinator where it is, for as long as it runs."""

import asyncio
import logging
import os
import random
import re
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from placet.background import running_task
from placet.coordinator import Coordinator
from placet.errors import CoordinatorError, CoordinatorRefused
from placet_contract.backoff import backoff_ms
from placet_contract.limits import INSTANCE_LEASE_MS
from placet_contract.services import InstanceRequest

TIMEOUT = timedelta(seconds=2)
"""Time of one announcement; a start waits no longer for a coordinator that does not answer."""

RENEWAL_SECONDS = INSTANCE_LEASE_MS / 1_000 / 3
FIRST_PAUSE_MS = 500
LONGEST_PAUSE_MS = 5_000

_log = logging.getLogger("placet.announcement")


@asynccontextmanager
async def announced(coordinator: Coordinator, service: str, instance: InstanceRequest) -> AsyncIterator[None]:
    """Announces an instance of a service while the block runs, and takes it away afterwards.

    A coordinator that does not answer delays the start by the timeout of one call at most; it is told later.

    Raises:
        CoordinatorRefused: it answered that it will not have it, such as for a barrier that forgets too soon.
    """
    announcement = _Announcement(coordinator, service, instance)
    await announcement.first()
    try:
        async with running_task(announcement.renew()):
            yield
    finally:
        await announcement.withdraw()


class _Announcement:
    def __init__(self, coordinator: Coordinator, service: str, instance: InstanceRequest) -> None:
        self._coordinator, self._service, self._instance = coordinator, service, instance
        self._instance_id = _new_instance_id()
        self._failures = 0

    async def first(self) -> None:
        try:
            await self._announce()
        except CoordinatorRefused as error:
            error.add_note(
                f"service {self._service} could not be announced. A barrier's retention is set by "
                "Participant(retention=timedelta(…)), the service's address by PLACET_SELF_URL, the coordinator's "
                "token by PLACET_TOKEN."
            )
            raise
        except CoordinatorError as error:
            self._failed(error)

    async def renew(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds())
            try:
                await self._announce()
            except CoordinatorError as error:
                self._failed(error)
            else:
                self._succeeded()

    async def withdraw(self) -> None:
        try:
            await self._coordinator.withdraw(self._service, self._instance_id, timeout=TIMEOUT)
        except CoordinatorError as error:
            _log.info("%s not withdrawn, its lease ends by itself: %s", self._service, error)

    async def _announce(self) -> None:
        await self._coordinator.announce(self._service, self._instance_id, self._instance, timeout=TIMEOUT)

    def _failed(self, error: CoordinatorError) -> None:
        self._failures += 1
        if self._failures == 1:  # said once, not every few seconds
            level = logging.ERROR if isinstance(error, CoordinatorRefused) else logging.WARNING
            _log.log(
                level, "%s is not announced to %s, it goes on trying: %s", self._service, self._coordinator.url, error
            )

    def _succeeded(self) -> None:
        if self._failures:
            _log.info("%s is announced to %s again", self._service, self._coordinator.url)
        self._failures = 0

    def _pause_seconds(self) -> float:
        if not self._failures:
            return RENEWAL_SECONDS
        chance = random.random()  # noqa: S311 - jitter is no secret
        return backoff_ms(self._failures, first_ms=FIRST_PAUSE_MS, cap_ms=LONGEST_PAUSE_MS, chance=chance) / 1_000


def _new_instance_id() -> str:
    host = re.sub(r"[^A-Za-z0-9_.-]", "-", socket.gethostname())[:40]
    return f"{host or 'host'}-{os.getpid()}-{secrets.token_hex(4)}"
