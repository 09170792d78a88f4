"""The command line: up, down, status, env."""

import argparse
import sys
from collections.abc import Sequence

from placet_services import docker, local
from placet_services.failure import ServicesError
from placet_services.home import Home
from placet_services.kafka import Kafka
from placet_services.mariadb import MariaDB
from placet_services.postgres import Postgres
from placet_services.redis import Redis
from placet_services.service import Service
from placet_services.zookeeper import ZooKeeper

KINDS: tuple[type[Service], ...] = (Postgres, MariaDB, Kafka, ZooKeeper, Redis)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when done (status: when all named servers are up), 1 otherwise."""
    names = [kind.name for kind in KINDS]
    parser = argparse.ArgumentParser(
        prog="compose/services", description="The servers of Placet's tests, on loopback. No name means all of them."
    )
    parser.add_argument("action", choices=["up", "down", "status", "env"])
    parser.add_argument("name", nargs="*", help=", ".join(names))
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.name) - set(names))
    if unknown:
        parser.error(f"no such server: {', '.join(unknown)}; there are: {', '.join(names)}")
    try:
        home = Home()
        services = [kind(home) for kind in KINDS if not given.name or kind.name in given.name]
        return _act(given.action, services)
    except ServicesError as error:
        print(f"services: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("services: interrupted; run the same command again, it goes on where it stopped", file=sys.stderr)
        return 130


def _act(action: str, services: list[Service]) -> int:
    if action == "env":
        for service in services:
            for name, value in service.settings().items():
                print(f"{name}={value}")
        return 0
    # Servers that we started ourselves stay ours, also after somebody has started a Docker engine.
    ours = any(service.running() for service in services)
    way = docker if not ours and docker.is_usable() else local
    if action == "status":
        return 0 if way.status(services) else 1
    if action == "up":
        way.up(services)
    else:
        way.down(services)
    return 0
