"""The dispatcher with its real transports, against servers on loopback that answer as a test wants."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec import Raw

from placet_contract.vocabulary import BranchStatus, Operation, Pattern, Status
from placet_coordinator.core.transaction import UNTOUCHED, Branch, Progress, Retry, Transaction
from placet_coordinator.dispatch.directory import Directory
from placet_coordinator.dispatch.endpoint import Endpoints
from placet_coordinator.dispatch.participants import RpcParticipants
from placet_coordinator.dispatch.policy import TargetPolicy
from placet_coordinator.ports.participants import BranchCall, CallEnd
from placet_coordinator.ports.rows import InstanceRow
from placet_coordinator.ports.store import Store
from placet_rpc import HttpClient, HttpLimits
from placet_rpc.tcp import TcpClient
from unit.engine.conftest import store
from unit.rpc.conftest import serve

__all__ = ["serve", "store"]

GID = "t-1"


class WallClock:
    """The clock of this machine."""

    @staticmethod
    def now_ms() -> int:
        return time.time_ns() // 1_000_000


class Troubles:
    """The part of an observer that the directory needs."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def trouble(self, what: str, cause: str) -> None:
        self.told.append((what, cause))


def a_branch(target: Any, branch_id: str = "a", **fields: Any) -> Branch:
    """Return a branch as planned."""
    fields.setdefault("timeout_ms", 5_000)
    return Branch(branch_id=branch_id, target=target, retry=Retry(first_ms=200, cap_ms=60_000), **fields)


def a_call(target: Any, operation: Operation = Operation.CONFIRM, attempt: int = 1, **fields: Any) -> BranchCall:
    """Return a call of the transaction's only branch."""
    branch = a_branch(target, **fields)
    transaction = Transaction(
        GID, Pattern.TCC, Status.COMMITTING, created_at_ms=1_700_000_000_000, branches=(branch,), progress=(UNTOUCHED,)
    )
    return BranchCall(transaction, branch, 0, operation, attempt)


def done(branch_id: str, result: bytes) -> tuple[Branch, Progress]:
    """Return a step that is done, with its result."""
    return a_branch("http://x", branch_id), Progress(status=BranchStatus.DONE, result=Raw(result))


class Dispatch:
    """The port's other side, with what it stands on."""

    def __init__(self, participants: RpcParticipants, directory: Directory, store: Store, troubles: Troubles) -> None:
        self.participants, self.directory, self.store, self.troubles = participants, directory, store, troubles

    def start(self, call: BranchCall) -> "asyncio.Future[CallEnd]":
        """Make a call; the future is done when it has ended, and fails if it ends twice."""
        future: asyncio.Future[CallEnd] = asyncio.get_running_loop().create_future()
        self.participants.call(call, future.set_result)
        return future

    async def call(self, target: Any, operation: Operation = Operation.CONFIRM, **fields: Any) -> CallEnd:
        """Make a call, and return how it ended."""
        return await self.start(a_call(target, operation, **fields))

    async def announce(self, service: str, base_url: str, instance_id: str = "one", **fields: Any) -> None:
        """Announce an instance, and have the directory look."""
        row = InstanceRow(
            service=service,
            instance_id=instance_id,
            base_url=base_url,
            actions=fields.pop("actions", '{"debit":["try","confirm","cancel"]}'),
            sdk=fields.pop("sdk", None),
            lease_until_ms=WallClock.now_ms() + 60_000,
            **fields,
        )
        await self.store.announce(row)
        await self.directory.refresh()


@pytest.fixture
async def make_dispatch(store: Store) -> AsyncIterator[Callable[..., Dispatch]]:
    """Makes dispatchers; their clients are closed with the test."""
    async with AsyncExitStack() as stack:

        async def make(*, allowed: str = "loopback", concurrency: int = 128, **limits: Any) -> Dispatch:
            policy = TargetPolicy.parse(allowed)
            http_limits = HttpLimits(max_connections=concurrency, **limits)
            http = await stack.enter_async_context(HttpClient(limits=http_limits, allow=policy.allows))
            tcp = await stack.enter_async_context(TcpClient(allow=policy.allows, app="placet"))
            troubles = Troubles()
            directory = Directory(store, WallClock(), troubles)
            participants = RpcParticipants(Endpoints(http, tcp, directory), WallClock(), concurrency)
            return Dispatch(participants, directory, store, troubles)

        yield make


@pytest.fixture
async def dispatch(make_dispatch: Callable[..., Any]) -> Dispatch:
    """A dispatcher with the limits of a fresh installation."""
    return await make_dispatch()
