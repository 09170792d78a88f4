"""From a registry's URL to the registry; further kinds come from installed packages."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.extension import Lazy, find_extension
from placet_rpc.registry.registry import Registry

REGISTRIES = "placet.rpc.registries"
"""Group of entry points; the name is the URL's scheme up to a `+`, the factory takes a URL and a `RegistryContext`."""
REGISTRY_SPI_VERSION = 1

_HERE = "placet_rpc.registry"
_BUILTIN = {
    "static": Lazy(f"{_HERE}.static:open_static", REGISTRY_SPI_VERSION),
    "memory": Lazy(f"{_HERE}.memory:open_memory", REGISTRY_SPI_VERSION),
    "coordinator": Lazy(f"{_HERE}.coordinator:open_coordinator", REGISTRY_SPI_VERSION),
    "redis": Lazy(f"{_HERE}.redis:open_redis", REGISTRY_SPI_VERSION, extra="redis"),
    "rediss": Lazy(f"{_HERE}.redis:open_redis", REGISTRY_SPI_VERSION, extra="redis"),
    "zookeeper": Lazy(f"{_HERE}.zookeeper:open_zookeeper", REGISTRY_SPI_VERSION, extra="zookeeper"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryContext:
    """What a registry is given besides its URL.

    Attributes:
        token: bearer token, for registries that want one.
        tls: context of encrypted connections; None: one that checks as a browser does.
        clock: where time comes from.
        chance: where jitter comes from.
    """

    token: str = ""
    tls: ssl.SSLContext | None = None
    clock: Clock = SYSTEM_CLOCK
    chance: Chance = field(default_factory=new_chance)


def open_registry(url: str, context: RegistryContext | None = None) -> Registry:
    """Opens a registry, inside the event loop that uses it. Connects to nothing yet.

    Args:
        url: `static:…`, `memory:name`, `coordinator+http://host:port`, `redis://host:port/0`,
            `zookeeper://host:port,host:port/path`, or of a kind that an installed package offers.
        context: what it is given besides.

    Raises:
        ValueError: no such kind, or the URL is none of its kind; the message says what it should be.
        ImportError: a library is missing; the message names the extra that brings it.
    """
    kind = url.partition(":")[0].partition("+")[0]
    factory: Callable[[str, RegistryContext], Registry] = find_extension(
        REGISTRIES, kind, _BUILTIN, REGISTRY_SPI_VERSION
    )
    return factory(url, context or RegistryContext())
