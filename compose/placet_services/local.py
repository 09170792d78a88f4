"""The way without Docker: install, prepare, start and stop the servers as our own children."""

import shutil
import time
from collections.abc import Sequence

from placet_services import debian, process
from placet_services.failure import ServicesError
from placet_services.home import Home
from placet_services.service import HOST, Service, port_is_taken

START_ATTEMPTS_LIMIT = 10
"""A killed PostgreSQL leaves backends that hold its memory for a moment, and so refuses its first restarts."""

SILENCE_LIMIT_S = 15.0
"""A process of ours that answers nothing for so long is stopped and started anew."""


def up(services: Sequence[Service]) -> None:
    """Bring the named servers up; returns at once for those that already answer."""
    if all(service.is_up() for service in services):
        _tell(services, "is up")
        return
    home = services[0].home
    home.create()
    with home.locked():
        waiting = [service for service in services if not _is_up_soon(service)]
        _install(waiting, home)
        for service in waiting:
            _clear_away(service)
            print(f"services: {service.name}: starting (log: {service.log})", flush=True)
            service.prepare()
            _start(service)
        _wait_until_all_answer(waiting)
    _tell([service for service in services if service not in waiting], "is up")


def down(services: Sequence[Service]) -> None:
    """Stop the named servers; what they stored stays."""
    home = services[0].home
    home.create()
    with home.locked():
        for service in services:
            running = service.running()
            if running is None:
                print(f"services: {service.name}: is down", flush=True)
            else:
                gently = process.stop(running, with_signal=service.stop_signal, limit_s=service.stop_limit_s)
                print(f"services: {service.name}: {'stopped' if gently else 'killed'}", flush=True)
            service.state.unlink(missing_ok=True)


def status(services: Sequence[Service]) -> bool:
    """Print a line for each server; True when all are up."""
    every = True
    for service in services:
        running = service.running()
        if service.is_up() and running:
            print(f"{service.name:<10} up    {HOST}:{service.port}  pid {running.pid}  log {service.log}")
        else:
            every = False
            known = f"pid {running.pid} does not answer on port {service.port}" if running else "not started"
            print(f"{service.name:<10} down  {known}  log {service.log}")
    return every


def _is_up_soon(service: Service) -> bool:
    """Whether it is up; one that lives but is silent gets time: it may be starting, or starved by a busy machine."""
    deadline = time.monotonic() + SILENCE_LIMIT_S
    while not service.is_up():
        running = service.running()
        if running is None or running.port != service.port or time.monotonic() > deadline:
            return False
        time.sleep(process.POLL_S)
    return True


def _tell(services: Sequence[Service], what: str) -> None:
    for service in services:
        print(f"services: {service.name}: {what} on {HOST}:{service.port}", flush=True)


def _install(services: Sequence[Service], home: Home) -> None:
    packages = [package for service in services if not service.is_installed() for package in service.packages]
    if packages:
        debian.install(list(dict.fromkeys(packages)), home.logs / "install.log")
    for service in services:
        if not service.is_installed():
            raise ServicesError(
                f"{service.name}: installed {' '.join(service.packages)}, but its programs are not found",
                f"look at what is on PATH, and at {home.logs / 'install.log'}",
            )


def _clear_away(service: Service) -> None:
    """Deal with what stands in the way: a process of ours that hangs, or a stranger on the port."""
    running = service.running()
    if running is not None and running.port != service.port:
        raise ServicesError(
            f"{service.name} runs on port {running.port}, not on {service.port}",
            f"compose/services down {service.name}, then up again; or unset {service.port_variable}",
        )
    if running is not None:
        print(f"services: {service.name}: process {running.pid} does not answer, stopping it", flush=True)
        process.stop(running, with_signal=service.stop_signal, limit_s=service.stop_limit_s)
    if port_is_taken(service.port):
        raise ServicesError(
            f"{service.name}: port {service.port} is taken by a process that compose/services did not start",
            f"see who has it: ss -ltnp 'sport = :{service.port}'; or choose another with {service.port_variable}",
        )


def _start(service: Service) -> None:
    service.clear_remains()
    process.start(
        service.command(),
        account=service.account,
        folder=service.folder,
        log=service.log,
        state=service.state,
        port=service.port,
    )


def _wait_until_all_answer(services: Sequence[Service]) -> None:
    began = time.monotonic()
    attempts = dict.fromkeys(services, 1)
    waiting = list(services)
    while waiting:
        waited_s = time.monotonic() - began
        for service in list(waiting):
            if service.answers():
                waiting.remove(service)
                print(f"services: {service.name}: up after {waited_s:.1f} s on {HOST}:{service.port}", flush=True)
            elif waited_s > service.start_limit_s:
                raise ServicesError(
                    f"{service.name} does not answer after {waited_s:.0f} s\n{process.tail(service.log)}",
                    f"read {service.log}",
                )
            elif service.running() is None:
                attempts[service] += 1
                _start_again(service, attempts[service])
        time.sleep(process.POLL_S)


def _start_again(service: Service, attempt: int) -> None:
    if attempt > START_ATTEMPTS_LIMIT:
        free_bytes = shutil.disk_usage(service.folder).free
        raise ServicesError(
            f"{service.name} ended {START_ATTEMPTS_LIMIT} times while starting\n{process.tail(service.log)}",
            f"read {service.log} ({free_bytes // 1_000_000} MB are free on its disk); "
            f"to begin with no data, remove {service.folder} and run this again",
        )
    time.sleep(process.POLL_S * attempt)
    _start(service)
