"""The file in which the last good snapshots outlive their process.

One file per process, so that two of them never fight for one; a new process reads those of all and takes the newest
word of each service. A file is whole or absent: it is written beside, flushed to the disk and renamed, and its first
line holds a checksum of the rest.
"""

import hashlib
import itertools
import logging
import os
import re
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from placet_rpc.registry.endpoint import Endpoint

FILES_MAX = 32
"""Files of one application and registry that are kept; the oldest go."""
_BYTES_MAX = 64 * 1024 * 1024
_MARK = b"placet registry cache 1 "
_NOT_OF_A_NAME = re.compile(r"[^A-Za-z0-9_.-]+")

_log = logging.getLogger("placet_rpc.registry")
_numbers = itertools.count(1)


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """The last good snapshot of a service.

    Attributes:
        endpoints: without `up_since`, which is of the process that wrote it.
        saved_at: seconds since the epoch, when the registry last said so.
    """

    endpoints: tuple[Endpoint, ...]
    saved_at: float


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Saved]).decode


class CacheFile:
    """The file of one process, for one registry. Its methods block: call them in a thread.

    Args:
        folder: of all such files; made by the first save, for this user alone.
        registry: the registry's URL; of its credentials nothing is kept.
        app: the application.
    """

    def __init__(self, folder: Path, registry: str, app: str) -> None:
        parts = urlsplit(registry)
        where = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
        digest = hashlib.blake2b(where.encode(), digest_size=6).hexdigest()
        self._folder = folder
        self._prefix = f"{_NOT_OF_A_NAME.sub('-', app) or 'app'}-{digest}-"
        self._name = f"{self._prefix}{os.getpid()}-{next(_numbers)}"

    def load(self) -> dict[str, Saved]:
        """Returns the newest word of each service, from the files of all processes; none, if there are no files."""
        found: dict[str, Saved] = {}
        for path in self._files()[:FILES_MAX]:
            for service, saved in self._read(path).items():
                if service not in found or found[service].saved_at < saved.saved_at:
                    found[service] = saved
        return found

    def save(self, services: dict[str, Saved]) -> None:
        """Replaces the file.

        Raises:
            OSError: it could not; what was there before is there still.
        """
        body = _encode(services)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        unfinished = self._folder / f".{self._name}.new"
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"%b%08x\n%b" % (_MARK, zlib.crc32(body), body))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._folder / f"{self._name}.json")
        self._sync_folder()
        for old in self._files()[FILES_MAX:]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Returns the files of this application and registry, the newest first."""
        dated = []
        for path in self._folder.glob(f"{self._prefix}*.json"):
            with suppress(FileNotFoundError):  # another process removes old ones too
                dated.append((path.stat().st_mtime_ns, path))
        return [path for _, path in sorted(dated, reverse=True)]

    def _read(self, path: Path) -> dict[str, Saved]:
        try:
            with path.open("rb") as file:
                return _checked(file.read(_BYTES_MAX))
        except (OSError, ValueError) as error:
            _log.warning("the registry cache %s is not used: %s", path, error)
            return {}

    def _sync_folder(self) -> None:
        """Makes the rename durable, where folders can be synced."""
        with suppress(OSError):
            descriptor = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _checked(data: bytes) -> dict[str, Saved]:
    head, _, body = data.partition(b"\n")
    if head != b"%b%08x" % (_MARK, zlib.crc32(body)):
        raise ValueError("its checksum is another, or it is of another version")
    return _decode(body)
