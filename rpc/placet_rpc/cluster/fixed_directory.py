"""A directory that is written by hand: every service is at the same instances, for ever."""

from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot


class FixedDirectory:
    """Satisfies `Directory`.

    Args:
        endpoints: of every service.
    """

    def __init__(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._endpoints = endpoints
        self._snapshots: dict[str, Snapshot] = {}

    def snapshot(self, service: str) -> Snapshot:
        """Returns the instances."""
        snapshot = self._snapshots.get(service)
        if snapshot is None:
            snapshot = Snapshot(service=service, revision=1, endpoints=self._endpoints)
            self._snapshots[service] = snapshot
        return snapshot

    async def ready(self, service: str, seconds: float) -> Snapshot:  # noqa: ARG002 - there is nothing to wait for
        """Returns the instances."""
        return self.snapshot(service)
