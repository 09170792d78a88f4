"""Loops end although something beneath them swallows a cancellation."""

import asyncio

from placet_coordinator.engine import cancellation
from placet_coordinator.engine.cancellation import cancel_until_ended


async def _swallows(times):
    """Runs until it is cancelled, as often as it takes."""
    for _ in range(times):
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            continue
    await asyncio.Event().wait()


async def test_task_that_swallowed_a_cancellation_is_cancelled_again(monkeypatch):
    """As `asyncio.wait_for` of Python 3.11 may do beneath it."""
    monkeypatch.setattr(cancellation, "PATIENCE_S", 0.01)
    tasks = [asyncio.create_task(_swallows(times)) for times in (0, 1, 3)]
    await asyncio.sleep(0)
    await cancel_until_ended(tasks)
    assert all(task.cancelled() for task in tasks)


async def test_task_that_never_ends_is_given_up(monkeypatch):
    """A stop is bounded, whatever a task does."""
    monkeypatch.setattr(cancellation, "PATIENCE_S", 0.01)
    task = asyncio.create_task(_swallows(cancellation.CANCELS_MAX))
    await asyncio.sleep(0)
    await cancel_until_ended([task])
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])
