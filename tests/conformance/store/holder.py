"""Another process that has a SQLite store open, as a second coordinator has."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

PROGRAM = """
import asyncio, sys
from placet_coordinator.store.factory import store_for
async def main():
    store = store_for(sys.argv[1], is_serving=sys.argv[2] == "serving")
    await store.open()
    process = store._connections._process
    print(process._process.pid if process else "", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@contextmanager
def held_by_another_process(url: str, *, is_serving: bool = False) -> Iterator[tuple[int, int | None]]:
    """Let another process open the store; yield that process and its writer. It is killed at the end."""
    command = [sys.executable, "-c", PROGRAM, url, "serving" if is_serving else "looking"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            line = holder.stdout.readline()
            assert line, "it could not open the store"
            yield holder.pid, int(line) if line.strip() else None
        finally:
            holder.kill()
