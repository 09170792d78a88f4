"""From a source's URL to the source; further kinds come from installed packages."""

from collections.abc import Callable
from dataclasses import dataclass, field

from placet_rpc.chance import Chance, new_chance
from placet_rpc.clock import SYSTEM_CLOCK, Clock
from placet_rpc.configuration.source import ConfigurationSource
from placet_rpc.extension import Lazy, find_extension

CONFIGURATIONS = "placet.rpc.configurations"
"""Group of entry points; the name is the URL's scheme, the factory takes a URL and a `SourceContext`."""
CONFIGURATION_SPI_VERSION = 1

_HERE = "placet_rpc.configuration"
_BUILTIN = {
    "file": Lazy(f"{_HERE}.file:open_file", CONFIGURATION_SPI_VERSION),
    "redis": Lazy(f"{_HERE}.redis:open_redis", CONFIGURATION_SPI_VERSION, extra="redis"),
    "rediss": Lazy(f"{_HERE}.redis:open_redis", CONFIGURATION_SPI_VERSION, extra="redis"),
    "zookeeper": Lazy(f"{_HERE}.zookeeper:open_zookeeper", CONFIGURATION_SPI_VERSION, extra="zookeeper"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceContext:
    """What a source is given besides its URL.

    Attributes:
        clock: where time comes from.
        chance: where jitter comes from.
    """

    clock: Clock = SYSTEM_CLOCK
    chance: Chance = field(default_factory=new_chance)


def open_source(url: str, context: SourceContext | None = None) -> ConfigurationSource:
    """Opens a source, inside the event loop that uses it. Connects to nothing yet.

    Args:
        url: `file:/path`, `redis://host:port/0?name=…`, `zookeeper://host:port,host:port/path`, or of a kind that an
            installed package offers. One in SQL takes an engine and has no URL (`configuration.sql`).
        context: what it is given besides.

    Raises:
        ValueError: no such kind, or the URL is none of its kind; the message says what it should be.
        ImportError: a library is missing; the message names the extra that brings it.
    """
    factory: Callable[[str, SourceContext], ConfigurationSource] = find_extension(
        CONFIGURATIONS, url.partition(":")[0], _BUILTIN, CONFIGURATION_SPI_VERSION
    )
    return factory(url, context or SourceContext())
