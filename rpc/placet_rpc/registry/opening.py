"""From a registry's URL to the registry; further kinds come from installed packages."""

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

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


def take_options(url: str, allowed: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Splits the query off a registry's URL.

    Args:
        url: the URL.
        allowed: the default value by name; a number takes positive numbers only.

    Returns:
        The URL without its query, and the value of each option.

    Raises:
        ValueError: an option is unknown, given twice, or no number where one is asked for.
    """
    parts = urlsplit(url)
    options = dict(allowed)
    given = parse_qsl(parts.query, keep_blank_values=True)
    for name, value in given:
        if name not in allowed or sum(name == other for other, _ in given) > 1:
            raise ValueError(f"?{name}= of a {parts.scheme} registry: give each of {', '.join(allowed)} once at most")
        if not isinstance(allowed[name], int):
            options[name] = value
        elif value.isdecimal() and int(value) > 0:
            options[name] = int(value)
        else:
            raise ValueError(f"?{name}={value!r} of a {parts.scheme} registry: give a number from 1")
    return parts._replace(query="").geturl(), options
