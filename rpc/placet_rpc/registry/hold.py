"""What is believed of a registry that suddenly knows few instances: a pure state machine, asked with the time.

A registry loses instances in two ways: they are gone, or the registry has lost its memory, its network or its mind.
The second takes many at once, or one after the other as leases end that nobody could renew, and those instances still
answer. So a list is doubted when it is empty, or has less than half of those that were listed within the hold. Whoever
it misses is then held, as a suspect, until it is listed again, does not answer any more, or the hold is over. A
smaller loss is believed at once, for the calls themselves find out who is gone.
"""

import msgspec

from placet_rpc.registry.endpoint import Endpoint

DOUBTED_SHARE = 0.5
PROBES_MISSED_MAX = 2
"""Who was asked so often in a row and did not answer is not shown any more."""


class _Known(msgspec.Struct):
    endpoint: Endpoint
    missing_since: float | None = None
    held: bool = False
    probes_missed: int = 0
    vouched: bool = True  # by this life of the registry, or by its own answer; not by a file alone


class Hold:
    """One service's instances: those that the registry lists, and those that it should list.

    Args:
        seconds: how long an instance that is missing may be kept.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._known: dict[str, _Known] = {}

    def load(self, endpoints: tuple[Endpoint, ...]) -> None:
        """Begins with what a file says: better than nothing, and worth nothing against the registry's word."""
        self._known = {endpoint.instance_id: _Known(endpoint, vouched=False) for endpoint in endpoints}

    def push(self, endpoints: tuple[Endpoint, ...], now: float) -> None:
        """Takes what the registry says now."""
        listed = {endpoint.instance_id for endpoint in endpoints}
        for instance_id, known in self._known.items():
            if instance_id not in listed and known.missing_since is None:
                known.missing_since, known.probes_missed = now, 0
        self._known.update({endpoint.instance_id: _Known(endpoint) for endpoint in endpoints})
        self._forget(now)
        if len(endpoints) < DOUBTED_SHARE * len(self._known):
            for known in self._known.values():
                known.held = known.missing_since is not None

    def heard(self, instance_id: str, *, answered: bool) -> None:
        """Takes the outcome of a probe of an instance that is held."""
        known = self._known.get(instance_id)
        if known is not None:
            known.probes_missed = 0 if answered else known.probes_missed + 1
            known.vouched = known.vouched or answered

    def held(self, now: float) -> list[Endpoint]:
        """Returns the instances that are held if they answer; none while the registry is believed."""
        self._forget(now)
        return [known.endpoint for known in self._known.values() if known.held]

    def shown(self, now: float) -> tuple[Endpoint, ...]:
        """Returns the instances that callers may be shown, by their ids."""
        self._forget(now)
        is_empty = all(known.missing_since is not None for known in self._known.values())
        shown = []
        for _, known in sorted(self._known.items()):
            if known.missing_since is None:
                shown.append(known.endpoint)
            # Where the registry lists others, who stands in a file only has to answer first.
            elif known.held and known.probes_missed < PROBES_MISSED_MAX and (known.vouched or is_empty):
                shown.append(msgspec.structs.replace(known.endpoint, suspect=True))
        return tuple(shown)

    def _forget(self, now: float) -> None:
        over = [
            instance_id
            for instance_id, known in self._known.items()
            if known.missing_since is not None and now - known.missing_since >= self._seconds
        ]
        for instance_id in over:
            del self._known[instance_id]
