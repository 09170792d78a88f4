"""PostgreSQL, durable as in production: the benchmarks use this server too."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

from placet_services import process
from placet_services.failure import ServicesError
from placet_services.service import HOST, Service, find_program


class Postgres(Service):
    """PostgreSQL from the distribution's package, without sockets in the file system and with trust on loopback."""

    name = "postgres"
    default_port = 15432
    packages = ("postgresql",)
    account = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends the clients' sessions instead of waiting for them

    def is_installed(self) -> bool:
        return _programs() is not None

    def prepare(self) -> None:
        process.own_folder(self.folder, self.account)
        if self._data.exists():
            return
        unfinished = self._data.with_name(self._data.name + ".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        how = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
        self.run_preparation(
            [f"{self._programs}/initdb", "-D", str(unfinished), *how], "making the data folder (initdb)"
        )
        unfinished.replace(self._data)

    def clear_remains(self) -> None:
        """Remove the lock file of a killed postmaster whose parent has not collected it yet.

        PostgreSQL takes such a zombie for a living postmaster and refuses to start; where process 1 collects nobody's
        children (a bare container) it would for ever. Its own criterion for orphaned backends is kept: the shared
        memory segment named in the lock file (line 7: key and id) must have no process attached.
        """
        lock = self._data / "postmaster.pid"
        try:
            lines = lock.read_text().splitlines()
            pid, segment = int(lines[0]), int(lines[6].split()[1])
        except (OSError, ValueError, IndexError):
            return  # no lock file, or an unfinished one: PostgreSQL's own message is the better one
        is_zombie = Path(f"/proc/{pid}").exists() and process.started_ticks(pid) is None
        if is_zombie and _attached_processes(segment) == 0:
            lock.unlink()

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "max_prepared_transactions": "200",  # XA branches; the package's default of 0 forbids them
            "max_connections": "300",
            # Durability is never traded for speed here: crash tests and published figures rest on it.
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
        }
        given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [f"{self._programs}/postgres", "-D", str(self._data), "-p", str(self.port), *given]

    def answers(self) -> bool:
        programs = _programs()
        if programs is None:
            return False
        asked = [f"{programs}/pg_isready", "-q", "-h", HOST, "-p", str(self.port), "-t", "2"]
        return subprocess.run(asked, check=False).returncode == 0

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_POSTGRES_URL": f"postgresql://postgres@{HOST}:{self.port}/postgres"}

    @property
    def _programs(self) -> Path:
        programs = _programs()
        if programs is None:
            raise ServicesError("PostgreSQL's programs are not here", "apt-get install postgresql")
        return programs

    @property
    def _data(self) -> Path:
        # A data folder belongs to one major version: a newer package starts with an empty one of its own.
        asked = [f"{self._programs}/postgres", "--version"]
        major = re.search(r"(\d+)", subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
        return self.folder / f"data-{major.group(1) if major else 'unknown'}"


def _programs() -> Path | None:
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if packaged:
        return packaged[-1].parent
    found = find_program("initdb")
    return Path(found).resolve().parent if found else None


def _attached_processes(segment: int) -> int:
    """How many processes are attached to a System V shared memory segment; 0 when there is none of that id."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()]
    identity, attached = rows[0].index("shmid"), rows[0].index("nattch")
    return sum(int(row[attached]) for row in rows[1:] if int(row[identity]) == segment)
