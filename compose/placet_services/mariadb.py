"""MariaDB with the durability and the character set of the distribution's package."""

import shutil
from pathlib import Path

from placet_services import process
from placet_services.service import HOST, Service, exchange, find_program

GREETING_HEAD_BYTES = 5  # of the server's first packet: length, sequence number, protocol version
GREETING_PROTOCOL = 10  # an error packet, such as "too many connections", has 0xff here


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
        greeting = exchange(self.port, b"", enough_bytes=GREETING_HEAD_BYTES)
        return len(greeting) == GREETING_HEAD_BYTES and greeting[-1] == GREETING_PROTOCOL

    def settings(self) -> dict[str, str]:
        return {"PLACET_TEST_MARIADB_URL": f"mysql://root@{HOST}:{self.port}/mysql"}

    @property
    def _data(self) -> Path:
        return self.folder / "data"
