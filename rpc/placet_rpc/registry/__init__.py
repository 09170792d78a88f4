"""Where instances of services are found: registries behind one port, a cache that outlives them, a directory."""

from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot

__all__ = ["Endpoint", "Snapshot"]
