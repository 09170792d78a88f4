"""Installation of what is missing, by the distribution's package program."""

import os
import shutil
import subprocess
from pathlib import Path

from placet_services.failure import ServicesError
from placet_services.process import tail

# Another apt-get (an unattended upgrade) may hold the lock for a while: wait for it, but not for ever.
APT = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3")


def install(packages: list[str], log: Path) -> None:
    """Install Debian packages.

    Raises:
        ServicesError: there is no apt-get, we are not root, or apt-get failed; each with the command to run.
    """
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        raise ServicesError(
            f"missing here: {wanted} (Debian's names), and this is no Debian with apt-get",
            "install these servers so that their programs are found on PATH, or start a Docker engine with its "
            "compose plugin: with one, compose/services uses compose/docker-compose.yml",
        )
    if os.geteuid() != 0:
        raise ServicesError(
            f"missing here: {wanted}, and only root may install packages",
            f"sudo apt-get update && sudo apt-get install -y {wanted}; or start a Docker engine",
        )
    print(f"services: installing {wanted} (log: {log})", flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in ([*APT, "update"], [*APT, "install", "--no-install-recommends", *packages]):
        with log.open("ab") as output:
            finished = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        if finished.returncode != 0:
            raise ServicesError(f"{' '.join(command)} failed\n{tail(log)}", f"read {log}, then run it by hand")
