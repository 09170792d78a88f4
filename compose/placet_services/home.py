"""Where the servers keep data, logs and state files, and the lock that serialises two callers."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from placet_services.failure import ServicesError

LOCK_WAIT_LIMIT_S = 900.0  # an installation over a slow line; a hung one is reported rather than waited for
LOCK_POLL_S = 0.1


def cache_folder() -> Path:
    """The user's cache folder; root has a system folder, since its servers run as users who cannot enter /root."""
    if os.geteuid() == 0:
        return Path("/var/cache/placet")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "placet"


class Home:
    """The folder of data, logs and state files (`PLACET_SERVICES_HOME`)."""

    def __init__(self, folder: Path | None = None) -> None:
        chosen = os.environ.get("PLACET_SERVICES_HOME")
        self.folder = folder or (Path(chosen).absolute() if chosen else cache_folder() / "services")

    def create(self) -> None:
        """Make the folders; refuse a place that the servers' own users cannot enter."""
        for folder in (self.folder, self.logs, self.state):
            folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() != 0:
            return
        for folder in (self.folder, *self.folder.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                raise ServicesError(
                    f"{folder} may be entered by its owner alone, and the servers do not run as root",
                    "set PLACET_SERVICES_HOME to a folder below a public one, such as /var/cache/placet/services",
                )

    @property
    def logs(self) -> Path:
        """One log file a server, appended to."""
        return self.folder / "logs"

    @property
    def state(self) -> Path:
        """One state file (process id, start time, port) a running server."""
        return self.folder / "state"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one `up` or `down` at a time change anything; the kernel frees the lock of a caller that died."""
        deadline = time.monotonic() + LOCK_WAIT_LIMIT_S
        with (self.folder / "lock").open("a+") as lock:
            told = False
            while not _try_lock(lock.fileno()):
                if not told:
                    print("services: another compose/services is at work, waiting for it", flush=True)
                    told = True
                if time.monotonic() > deadline:
                    raise ServicesError(
                        f"another compose/services has held {lock.name} for {LOCK_WAIT_LIMIT_S:.0f} s",
                        f"find it with: fuser {lock.name}; end it and run this command again",
                    )
                time.sleep(LOCK_POLL_S)
            yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
