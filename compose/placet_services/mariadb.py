"""MariaDB with the durability and the character set of the distribution's package."""

import shutil
from pathlib import Path

from placet_services import process
from placet_services.service import HOST, Service, exchange, find_program

# The server speaks first (MariaDB, "Initial handshake packet"): a greeting, or an error packet.
HEADER_BYTES = 4  # length and sequence number
GREETING_HEAD_BYTES = HEADER_BYTES + 3
PROTOCOL_10 = b"\x0a"
TOO_MANY_CONNECTIONS = b"\xff" + (1040).to_bytes(2, "little")  # busy, but alive


class MariaDB(Service):
    """MariaDB from the distribution's package; root without a password, on loopback only."""

    name = "mariadb"
    default_port = 13306
    packages = ("mariadb-server",)
    account = "mysql"

    def is_installed(self) -> bool:
        return find_program("mariadbd") is not None and find_program("mariadb-install-db") is not None

    def prepare(self) -> None:
        process.own_folder(self.folder, self.account)
        if self._data.exists():
            return
        unfinished = self._data.with_name("data.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        program = find_program("mariadb-install-db") or "mariadb-install-db"
        how = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
        self.run_preparation(
            [program, "--no-defaults", f"--datadir={unfinished}", *how],
            "making the data folder (mariadb-install-db)",
        )
        unfinished.replace(self._data)

    def command(self) -> list[str]:
        return [
            find_program("mariadbd") or "mariadbd",
            "--no-defaults",
            f"--datadir={self._data}",
            f"--port={self.port}",
            f"--bind-address={HOST}",
            "--socket=mariadbd.sock",  # relative to the data folder: a socket's path is limited to 107 bytes
            "--pid-file=mariadbd.pid",
            "--skip-name-resolve",
            "--max-connections=300",
            "--innodb-flush-log-at-trx-commit=1",
            # As Debian's own settings file has them; bare MariaDB 10.11 would take latin1.
            "--character-set-server=utf8mb4",
            "--collation-server=utf8mb4_general_ci",
        ]

    def answers(self) -> bool:
        greeting = exchange(self.port, b"", enough_bytes=GREETING_HEAD_BYTES)[HEADER_BYTES:]
        return greeting[:1] == PROTOCOL_10 or greeting == TOO_MANY_CONNECTIONS

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_MARIADB_URL": f"mysql://root@{HOST}:{self.port}/mysql"}

    @property
    def _data(self) -> Path:
        return self.folder / "data"
