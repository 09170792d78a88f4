"""The file of a SQLite store, and the lock that keeps a second coordinator from it."""

import fcntl
import os
from pathlib import Path
from typing import IO

from sqlalchemy.engine import make_url

from placet_coordinator.ports.store import StoreInUse, StoreUnavailable


def database_path(url: str) -> str:
    """Return the file's path of `sqlite:///relative.db` or `sqlite:////absolute.db`.

    Raises:
        ValueError: the URL names no file: a coordinator's state must outlive its process.
    """
    path = make_url(url).database
    if not path or path == ":memory:":
        raise ValueError("a SQLite URL names a file, such as sqlite:///./placet.db: state must outlive the process")
    return os.path.realpath(path)


class FileLock:
    """An advisory lock beside the database; the kernel frees it when the process dies, however it dies."""

    def __init__(self, path: str) -> None:
        self._path = Path(f"{path}.lock")
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Take the lock.

        Raises:
            StoreInUse: another process has it.
            StoreUnavailable: the directory is missing, or not ours to write.
        """
        try:
            file = self._path.open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreUnavailable(
                f"{self._path}: {error.strerror}; the database's directory must exist and be writable",
                wrote_nothing=True,
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise StoreInUse(
                f"{self._path} is held by {holder}: SQLite serves one coordinator. Stop the other one, or use "
                "PostgreSQL or MariaDB for several: PLACET_DATABASE_URL=postgresql://…"
            ) from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        self._file = file

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            self._file.close()
            self._file = None
