"""Branches made durable before they are called: a lazy begin, and one register for those that come together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from placet_contract.limits import BODY_BYTES_MAX
from placet_contract.transactions import BranchRequest

BATCH_BYTES_MAX = BODY_BYTES_MAX * 3 // 4
"""Bytes of branches in one request, as estimated; the rest of the coordinator's limit is for what is escaped."""

_WORDS_BYTES = 256
"""What a branch has besides payload, target and headers: names of members, its id, its figures."""

SendBranches = Callable[[list[BranchRequest]], Awaitable[None]]


class _Waiting(NamedTuple):
    branch: BranchRequest
    durable: asyncio.Future[None]


class Enrolment:
    """Gathers the branches that are enrolled in one turn of the event loop, and sends one request at a time.

    While a request is under way, further branches gather for the next one. Cancelling a caller does not take its
    branch back: it may be durable already.

    Args:
        send: makes branches durable; what it raises is raised to each of the callers whose branches it took.
    """

    def __init__(self, send: SendBranches) -> None:
        self._send = send
        self._waiting: list[_Waiting] = []
        self._sending: asyncio.Task[None] | None = None
        self._closed = False

    async def enrol(self, branch: BranchRequest) -> None:
        """Returns once the branch is durable at the coordinator."""
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append(_Waiting(branch, durable))
        if len(self._waiting) == 1 and self._sending is None:
            # At the end of this turn, when all that are ready to run now have enrolled theirs.
            loop.call_soon(self._start)
        await durable

    def close(self) -> None:
        """Sends nothing more; callers that still wait are cancelled."""
        self._closed = True
        if self._sending is not None:
            self._sending.cancel()
        for waiting in self._waiting:
            waiting.durable.cancel()
        self._waiting.clear()

    def _start(self) -> None:
        if not self._closed:
            self._sending = asyncio.create_task(self._send_all())

    async def _send_all(self) -> None:
        try:
            while self._waiting:
                batch = self._take_batch()
                try:
                    await self._send([waiting.branch for waiting in batch])
                except Exception as error:  # noqa: BLE001 - it is raised to each caller whose branch was in the batch
                    for waiting in batch:
                        if not waiting.durable.done():
                            waiting.durable.set_exception(error)
                else:
                    for waiting in batch:
                        if not waiting.durable.done():
                            waiting.durable.set_result(None)
                finally:
                    for waiting in batch:
                        waiting.durable.cancel()  # only those of a cancelled request are still open
        finally:
            self._sending = None

    def _take_batch(self) -> list[_Waiting]:
        batch: list[_Waiting] = []
        size_bytes = 0
        while self._waiting:
            size_bytes += _size_bytes(self._waiting[0].branch)
            if batch and size_bytes > BATCH_BYTES_MAX:
                break
            batch.append(self._waiting.pop(0))
        return batch


def _size_bytes(branch: BranchRequest) -> int:
    target, headers = branch.target, branch.headers
    size_bytes = _WORDS_BYTES + len(memoryview(branch.payload))
    size_bytes += len(target) if isinstance(target, str) else sum(map(len, target.values()))
    if headers:
        size_bytes += sum(len(name) + len(value) for name, value in headers.items())
    return size_bytes
