"""Which instance owns a key: rendezvous hashing on instance ids, so that a key moves only when its owner changes."""

from collections.abc import Iterable

from xxhash import xxh64_intdigest

from placet_rpc.registry.endpoint import Endpoint
from placet_rpc.registry.snapshot import Snapshot

CACHED = 65_536


class Owners:
    """The owners of keys among some instances. Never changed: other instances are another object.

    Args:
        endpoints: the instances. Those with weight 0 own nothing, and those that the registry no longer lists, however
            well they answer: it alone is what all agree on. Unless there are no others.
    """

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        self.endpoints = {endpoint.instance_id: endpoint for endpoint in endpoints}
        listed = [endpoint for endpoint in self.endpoints.values() if not endpoint.suspect] or self.endpoints.values()
        candidates = [endpoint for endpoint in listed if endpoint.weight] or listed
        ids = sorted(endpoint.instance_id for endpoint in candidates)
        self._seeds = [(instance_id, xxh64_intdigest(instance_id.encode())) for instance_id in ids]
        self._known: dict[str, str] = {}

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Owners":
        """Returns the owners among the instances of a service."""
        return cls(snapshot.endpoints)

    def __eq__(self, other: object) -> bool:
        """Equal if every key has the same owner."""
        return isinstance(other, Owners) and self._seeds == other._seeds

    __hash__ = None  # type: ignore[assignment]  # compared, never looked up

    def owner(self, key: str) -> str:
        """Returns the id of the instance that owns a key, empty if there are none."""
        known = self._known.get(key)
        if known is None:
            data = key.encode()
            scores = ((xxh64_intdigest(data, seed), instance_id) for instance_id, seed in self._seeds)
            known = max(scores, default=(0, ""))[1]
            if len(self._known) >= CACHED:
                self._known.clear()
            self._known[key] = known
        return known

    def without(self, instance_id: str) -> "Owners":
        """Returns the owners among all others."""
        return Owners(endpoint for endpoint in self.endpoints.values() if endpoint.instance_id != instance_id)
