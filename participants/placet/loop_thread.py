"""One event loop on a thread of its own, on which threads without a loop run their calls."""

import asyncio
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 10.0


class LoopThread:
    """An event loop on a daemon thread, started at the first use, in the process that made this object."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs work on the loop, in the caller's context, and returns its result.

        Raises:
            RuntimeError: called from a thread that runs an event loop, which it would block; or in a forked child,
                where the loop's thread does not exist.
        """
        refusal = self._refusal()
        if refusal:
            work.close()
            raise RuntimeError(refusal)
        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()  # an interrupt of this thread cancels the work; after its own error this does nothing
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Runs the last work, then ends the loop and its thread; neither if the loop was never started."""
        if self._loop is None:
            last.close()
            return
        self.run(last)
        with self._lock:
            loop, thread, self._loop, self._thread = self._loop, self._thread, None, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_STOP_SECONDS)
            loop.close()

    def _refusal(self) -> str:
        if _in_event_loop():
            return "a sync call would block this thread's event loop: use the asynchronous client here"
        if self._pid != os.getpid():
            return "this belongs to the process that was forked: make a new one from the client, here"
        return ""

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="placet-sync", daemon=True)
                self._thread.start()
            return self._loop


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
