"""The registry that is written by hand: addresses in the URL, or a file that is read again when it changes.

static:tcp://10.0.0.1:20880,tcp://10.0.0.2:20880       every service is at these addresses
static:/etc/placet/services.json                       {"stock/1": [{"urls": ["tcp://10.0.0.1:20880"]}, …], …}
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import msgspec

from placet_contract.limits import BRANCH_ID_LENGTH_MAX
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import RegistryContext
from placet_rpc.registry.record import Record
from placet_rpc.registry.registry import REFRESH, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.snapshot import Snapshot

_NOT_OF_AN_ID = re.compile(r"[^A-Za-z0-9_.-]+")
_FILE_BYTES_MAX = 16 * 1024 * 1024


class Instance(Record, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One instance in the file.

    Attributes:
        instance_id: made from its first URL if it is not given.
    """

    instance_id: str = ""

    def named(self) -> Endpoint:
        """Returns it as an endpoint."""
        return self.endpoint(self.instance_id or instance_id_of(self.urls[0] if self.urls else ""))


_decode = msgspec.json.Decoder(dict[str, list[Instance]]).decode


class StaticRegistry:
    """Satisfies `Registry`, but for writing.

    Args:
        everywhere: the URLs at which every service is.
        file: read instead; looked at again every `REFRESH`.
        clock: where time comes from.

    Raises:
        ValueError: a URL is no address, or the file does not hold what it should.
        OSError: the file can't be read.
    """

    lease = timedelta.max

    def __init__(
        self, everywhere: tuple[str, ...] = (), *, file: Path | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._clock = clock
        self._file = file
        self._epoch = uuid4().hex
        self._everywhere = _sorted([Instance(urls=(url,)) for url in everywhere])
        self._services: Mapping[str, tuple[Endpoint, ...]] = {}
        self._revision = 1
        self._state: tuple[int, int] | None = None
        if file is not None:
            self._read(file)

    async def register(self, service: str, endpoint: Endpoint) -> None:
        """Refuses."""
        raise RegistryRefused(f"{endpoint.instance_id} of {service}: a static registry is written by hand")

    async def unregister(self, service: str, instance_id: str) -> None:
        """Refuses."""
        raise RegistryRefused(f"{instance_id} of {service}: a static registry is written by hand")

    async def watch(self, service: str) -> AsyncGenerator[Snapshot, None]:
        """Yields what stands there, again whenever the file has changed."""
        while True:
            if self._file is not None:
                try:
                    await asyncio.to_thread(self._read, self._file)
                except (OSError, ValueError) as error:
                    raise RegistryUnavailable(str(error)) from None
            endpoints = self._services.get(service, ()) if self._file is not None else self._everywhere
            yield Snapshot(service=service, revision=self._revision, endpoints=endpoints, epoch=self._epoch)
            await self._clock.sleep(REFRESH.total_seconds())

    async def services(self) -> list[str]:
        """Returns the services of the file."""
        if self._file is None:
            raise RegistryRefused("its addresses are those of every service: name the ones that you mean")
        return sorted(self._services)

    async def aclose(self) -> None:
        """Nothing is to be closed."""

    def _read(self, file: Path) -> None:
        found = file.stat()
        state = (found.st_mtime_ns, found.st_size)
        if state == self._state:
            return
        if found.st_size > _FILE_BYTES_MAX:
            raise ValueError(f"{file} has {found.st_size} bytes, a registry's file has {_FILE_BYTES_MAX} at most")
        try:
            services = {name: _sorted(instances) for name, instances in _decode(file.read_bytes()).items()}
        except ValueError as error:
            raise ValueError(f"{file} is no registry: {error}") from None
        if self._state is not None and services != self._services:
            self._revision += 1
        self._services, self._state = services, state


def _sorted(instances: list[Instance]) -> tuple[Endpoint, ...]:
    endpoints = {endpoint.instance_id: endpoint for endpoint in (instance.named() for instance in instances)}
    if len(endpoints) < len(instances):
        raise ValueError("an instance stands there twice: give each its own instance_id")
    return tuple(endpoints[instance_id] for instance_id in sorted(endpoints))


def instance_id_of(url: str) -> str:
    """Returns an instance's id made from its address, for those that have none of their own.

    Raises:
        ValueError: it is no address.
    """
    scheme, separator, address = url.partition("://")
    if not scheme or not separator or not address:
        raise ValueError(f"{url!r} is no address of an instance: write tcp://host:port or http://host:port/path")
    return _NOT_OF_AN_ID.sub("-", address).strip("-")[:BRANCH_ID_LENGTH_MAX]


def open_static(url: str, context: RegistryContext) -> StaticRegistry:
    """Opens `static:URL,URL…` or `static:FILE`."""
    text = url.partition(":")[2]
    if not text:
        raise ValueError("a static registry needs something to say: static:tcp://host:port,… or static:/path/to/file")
    if "://" in text:
        return StaticRegistry(tuple(text.split(",")), clock=context.clock)
    return StaticRegistry(file=Path(text), clock=context.clock)
