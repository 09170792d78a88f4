"""Ending tasks that run until they are cancelled."""

import asyncio
from collections.abc import Iterable
from typing import Any, Final

PATIENCE_S: Final = 1.0
"""How long a cancelled task may take before it is cancelled once more."""
CANCELS_MAX: Final = 10


async def cancel_until_ended(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks, again and again, until they have ended; it gives up after `CANCELS_MAX` times.

    Once is not enough: until Python 3.12 `asyncio.wait_for` swallows a cancellation that arrives together with what it
    waits for (python/cpython issue 81839), and the driver of MySQL connects by it. A loop would go on for ever, and
    with it the node that waits for its end.
    """
    left = set(tasks)
    for _ in range(CANCELS_MAX):
        if not left:
            return
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=PATIENCE_S)
