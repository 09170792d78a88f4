"""Makes calls again that have failed, until they succeed or are given up; what strategies named `failback` rest on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from placet_contract.backoff import backoff_ms
from placet_rpc.chance import Chance
from placet_rpc.clock import Clock
from placet_rpc.cluster.failback_store import FailbackEntry, FailbackStore
from placet_rpc.codecs import MSGPACK
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.errors import RpcError, Safety
from placet_rpc.invocation import Invocation

_log = logging.getLogger("placet_rpc.failback")
_MILLISECOND = timedelta(milliseconds=1)
_ERROR_LENGTH_MAX = 500

Resend = Callable[[Invocation], Awaitable[Any]]
"""Makes a call through the whole chain, but for what would answer in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailbackLimits:
    """How calls are made again.

    Attributes:
        backoff_first: ceiling of the first delay; doubled by each further one, with full jitter.
        backoff_cap: ceiling of every delay.
        max_age: after it a call is a dead letter.
        poll: how often the store is asked for what is due.
        batch: entries taken at a time, and calls made at once.
    """

    backoff_first: timedelta = timedelta(seconds=1)
    backoff_cap: timedelta = timedelta(seconds=60)
    max_age: timedelta = timedelta(hours=24)
    poll: timedelta = timedelta(seconds=1)
    batch: int = 16

    def __post_init__(self) -> None:
        if not timedelta() < self.backoff_first <= self.backoff_cap or self.poll <= timedelta() or self.batch < 1:
            raise ValueError("times and the batch of a failback must be above 0, backoff_first at most backoff_cap")


class _Known:
    """A method of which calls can be made again."""

    def __init__(self, service: ServiceSpec, method: MethodSpec, timeout_ms: int, resend: Resend) -> None:
        self.service, self.method, self.timeout_ms, self.resend = service, method, timeout_ms, resend


class FailbackQueue:
    """The calls of one client that are to be made again.

    Args:
        store: keeps them.
        clock: where time comes from.
        chance: where jitter comes from.
        limits: how they are made.

    Attributes:
        added: calls that failed and were kept.
        succeeded: of these, made since.
        buried: of these, given up.
    """

    def __init__(
        self, store: FailbackStore, clock: Clock, chance: Chance, limits: FailbackLimits | None = None
    ) -> None:
        self.store = store
        self.added = self.succeeded = self.buried = 0
        self._clock, self._chance = clock, chance
        self._limits = limits or FailbackLimits()
        self._known: dict[str, _Known] = {}
        self._methods: frozenset[str] = frozenset()
        self._task: asyncio.Task[None] | None = None

    def know(self, service: ServiceSpec, method: MethodSpec, timeout_ms: int, resend: Resend) -> None:
        """From now on makes calls of a method again, those of an earlier life of this process included."""
        self._known[_name(service, method)] = _Known(service, method, timeout_ms, resend)
        self._methods = frozenset(self._known)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def add(self, call: Invocation, error: RpcError) -> None:
        """Keeps a call that has failed.

        Raises:
            FailbackFull: it was not kept.
        """
        now_ms = self._now_ms()
        entry = FailbackEntry(
            entry_id=call.idempotency_key,
            method=_name(call.service, call.method),
            arguments=call.method.coding(MSGPACK).encode_arguments(call.arguments),
            caller=call.caller,
            key=call.key,
            traceparent=call.traceparent,
            xid=call.xid,
            created_at_ms=now_ms,
            due_at_ms=now_ms + self._delay_ms(1),
            last_error=str(error)[:_ERROR_LENGTH_MAX],
        )
        await self.store.add(entry)
        self.added += 1

    async def aclose(self) -> None:
        """Stops; what is not done yet stays in the store."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    async def _run(self) -> None:
        while True:
            try:
                while await self._work():
                    pass
            except Exception:  # noqa: BLE001 - a store that fails today may work tomorrow
                _log.exception("the failback store failed; calls that are due wait")
            await self._clock.sleep(self._limits.poll.total_seconds())

    async def _work(self) -> bool:
        """Makes one batch of calls; True if there may be more."""
        lease_ms = 2 * max(known.timeout_ms for known in self._known.values()) + 1000
        entries = await self.store.take(self._methods, self._now_ms(), lease_ms, self._limits.batch)
        async with asyncio.TaskGroup() as group:
            for entry in entries:
                group.create_task(self._again(entry))
        return len(entries) == self._limits.batch

    async def _again(self, entry: FailbackEntry) -> None:
        known = self._known[entry.method]
        attempts = entry.attempts + 1
        try:
            await known.resend(_call_of(entry, known, attempts))
        except RpcError as error:
            age_ms = self._now_ms() - entry.created_at_ms
            if error.safety is not Safety.EXECUTED and age_ms < self._limits.max_age // _MILLISECOND:
                due_at_ms = self._now_ms() + self._delay_ms(attempts)
                await self.store.later(entry.entry_id, due_at_ms, attempts, str(error)[:_ERROR_LENGTH_MAX])
                return
            await self._bury(entry, attempts, error)
        except Exception as error:  # noqa: BLE001 - an answer of the contract, and nobody is left to hear it
            await self._bury(entry, attempts, error)
        else:
            await self.store.done(entry.entry_id)
            self.succeeded += 1

    async def _bury(self, entry: FailbackEntry, attempts: int, error: Exception) -> None:
        self.buried += 1
        _log.error("a call of %s is given up after %d attempts: %s", entry.method, attempts, error)
        await self.store.bury(entry.entry_id, f"{type(error).__name__}: {error}"[:_ERROR_LENGTH_MAX])

    def _delay_ms(self, attempt: int) -> int:
        first, cap = (value // _MILLISECOND for value in (self._limits.backoff_first, self._limits.backoff_cap))
        return backoff_ms(attempt, first_ms=first, cap_ms=cap, chance=self._chance.random())

    def _now_ms(self) -> int:
        return int(self._clock.wall() * 1000)


def new_entry_id() -> str:
    """Returns the id of an entry, and the idempotency key of its calls."""
    return uuid4().hex


def _name(service: ServiceSpec, method: MethodSpec) -> str:
    return f"{service.key}.{method.name}"


def _call_of(entry: FailbackEntry, known: _Known, attempt: int) -> Invocation:
    return Invocation(
        service=known.service,
        method=known.method,
        arguments=known.method.coding(MSGPACK).decode_arguments(entry.arguments),
        timeout_ms=known.timeout_ms,
        caller=entry.caller,
        key=entry.key,
        idempotency_key=entry.entry_id,
        traceparent=entry.traceparent,
        xid=entry.xid,
        attempt=attempt,
        idempotent=True,
    )
