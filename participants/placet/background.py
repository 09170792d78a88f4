"""Work that outlives the caller who asked for it: a decision on its way to the coordinator."""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from placet.errors import Aborted

WAIT_SECONDS_MAX = 5.0
"""How long closing waits for decisions on their way."""

T = TypeVar("T")

_log = logging.getLogger("placet.background")


@asynccontextmanager
async def running_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs endless work beside the block, and ends it with the block."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


class Background:
    """Tasks that go on when their caller is cancelled. Each ends by itself: what they repeat is bounded in time."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts work; await it through `asyncio.shield` to learn its result."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    async def aclose(self) -> None:
        """Waits for the work under way, then cancels what is left."""
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks if task.get_loop() is loop]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=WAIT_SECONDS_MAX)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._tasks.clear()

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Usually the caller raises it, too; after a cancellation nobody else says it.
            _log.log(logging.INFO if isinstance(error, Aborted) else logging.WARNING, "%s", error)
