"""The same call to every instance, such as to drop a cached value."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from placet_rpc.balancing.member import Member
from placet_rpc.cluster.strategy import ClusterContext
from placet_rpc.cluster.targets import Targets
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import BroadcastFailed, NoInstance
from placet_rpc.invocation import Invocation

CONCURRENCY = 16
POLICIES = ("all", "quorum", "any")


class InstanceResult(msgspec.Struct, frozen=True):
    """What one instance answered.

    Attributes:
        instance: its id.
        result: that it returned, if `error` is None.
        error: that it raised, or that it could not be asked.
    """

    instance: str
    result: Any = None
    error: Exception | None = None


_RESULTS: ContextVar[list[InstanceResult] | None] = ContextVar("placet_broadcast_results", default=None)


@contextmanager
def instance_results() -> Iterator[list[InstanceResult]]:
    """Collects what each instance answers to the broadcasts in the block.

    with instance_results() as results:
        await cache.drop("A1")
    """
    results: list[InstanceResult] = []
    token = _RESULTS.set(results)
    try:
        yield results
    finally:
        _RESULTS.reset(token)


class Broadcast:
    """Satisfies `ClusterStrategy`: one request to each instance, at most 16 at a time, whatever becomes of the others.

    The caller gets one of the results; `instance_results` has them all.

    Args:
        policy: how many have to succeed: `all` of them, `quorum` (more than half), or `any` one.
        concurrency: requests under way.
    """

    spi_version = 1

    def __init__(self, _context: ClusterContext, *, policy: str = "all", concurrency: str = str(CONCURRENCY)) -> None:
        if policy not in POLICIES:
            raise ValueError(f"policy={policy}: give one of {', '.join(POLICIES)}")
        if not concurrency.isdecimal() or int(concurrency) < 1:
            raise ValueError(f"concurrency={concurrency}: give a whole number from 1")
        self._policy = policy
        self._concurrency = int(concurrency)

    def check(self, method: MethodSpec) -> None:
        """Any method will do: each instance gets it once."""

    async def invoke(self, call: Invocation, targets: Targets) -> Any:
        """Makes the call.

        Raises:
            NoInstance: there is nobody to call.
            BroadcastFailed: fewer have succeeded than the policy asks for.
        """
        members = [targets.choose(call)] if call.instance else targets.admitted(call)
        if not members:
            raise NoInstance(f"{call.service.key} has no instance that takes calls")
        results = await self._ask(members, call, targets)
        collected = _RESULTS.get()
        if collected is not None:
            collected.extend(results)
        succeeded = [result for result in results if result.error is None]
        needed = {"all": len(results), "quorum": len(results) // 2 + 1, "any": 1}[self._policy]
        if len(succeeded) < needed:
            failures = {result.instance: result.error for result in results if result.error is not None}
            first = next(iter(failures.items()))
            message = (
                f"{len(succeeded)} of {len(results)} instances did it, the policy {self._policy!r} asks for {needed};"
                f" {first[0]} says: {first[1]}"
            )
            ids = tuple(result.instance for result in succeeded)
            raise BroadcastFailed(message, failures=failures, succeeded=ids)
        return succeeded[0].result

    async def _ask(self, members: list[Member], call: Invocation, targets: Targets) -> list[InstanceResult]:
        deadline_at = targets.now() + call.timeout_ms * 0.001
        waiting = deque(members)
        results: dict[Member, InstanceResult] = {}

        async def work() -> None:
            while waiting:
                member = waiting.popleft()
                left_ms = int((deadline_at - targets.now()) * 1000)
                try:
                    answer = await targets.attempt(call, member, call.attempt, left_ms)
                except Exception as error:  # noqa: BLE001 - one instance's failure is its result
                    results[member] = InstanceResult(member.instance_id, error=error)
                else:
                    results[member] = InstanceResult(member.instance_id, answer)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._concurrency, len(members))):
                group.create_task(work())
        return [results[member] for member in members]
