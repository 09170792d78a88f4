"""Where instances of services are found: registries behind one port, a cache that outlives them, a directory.

server ── Announcer ──▶ Registry ──▶ RegistryCache ──▶ Directory ──▶ balancers
          (again and     (redis,      (last word, in     (frozen snapshots,
           again)         zookeeper…)  memory and file)   one look per call)
"""

from placet_rpc.registry.advertisement import Advertisement
from placet_rpc.registry.announcer import Announcer
from placet_rpc.registry.cache import RegistryCache
from placet_rpc.registry.directory import Directory, open_directory
from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.opening import REGISTRIES, REGISTRY_SPI_VERSION, RegistryContext, open_registry
from placet_rpc.registry.registry import Registry, RegistryRefused, RegistryUnavailable
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.registry.snapshot import Snapshot

__all__ = [
    "REGISTRIES",
    "REGISTRY_SPI_VERSION",
    "Advertisement",
    "Announcer",
    "CacheSettings",
    "Directory",
    "Endpoint",
    "Registry",
    "RegistryCache",
    "RegistryContext",
    "RegistryRefused",
    "RegistryUnavailable",
    "Snapshot",
    "open_directory",
    "open_registry",
]
