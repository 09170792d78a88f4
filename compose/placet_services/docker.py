"""The way with a Docker engine: the compose file beside this package does the same."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from placet_services.failure import ServicesError
from placet_services.service import Service

FILE = Path(__file__).resolve().parent.parent / "docker-compose.yml"
ASK_LIMIT_S = 10.0
START_LIMIT_S = 600  # the first start pulls the images


def is_usable() -> bool:
    """Whether an engine runs and its client has the compose plugin."""
    if shutil.which("docker") is None:
        return False
    return _succeeds("docker", "info") and _succeeds("docker", "compose", "version")


def up(services: Sequence[Service]) -> None:
    """Start the containers and wait until their health checks pass."""
    _compose(services, "up", "--detach", "--wait", "--wait-timeout", str(START_LIMIT_S), *_names(services))
    for service in services:
        print(f"services: {service.name}: is up on port {service.port} (docker)", flush=True)


def down(services: Sequence[Service]) -> None:
    """Stop and remove the containers; the named volumes keep what they stored."""
    _compose(services, "rm", "--stop", "--force", *_names(services))


def status(services: Sequence[Service]) -> bool:
    """Print a line for each server; True when all answer."""
    every = True
    for service in services:
        answers = service.answers()
        every = every and answers
        logs = f"docker compose -f {FILE} logs {service.name}"
        print(f"{service.name:<10} {'up  ' if answers else 'down'}  port {service.port} (docker)  log: {logs}")
    return every


def _names(services: Sequence[Service]) -> list[str]:
    return [service.name for service in services]


def _compose(services: Sequence[Service], *arguments: str) -> None:
    ports = {service.port_variable: str(service.port) for service in services}
    command = ["docker", "compose", "-f", str(FILE), *arguments]
    if subprocess.run(command, env=os.environ | ports, check=False).returncode != 0:
        logs = f"docker compose -f {FILE} logs {' '.join(_names(services))}"
        raise ServicesError(f"{' '.join(command)} failed", f"read above, and: {logs}")


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=ASK_LIMIT_S, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
