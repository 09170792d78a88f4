"""One instance of a service, as callers see it."""

from collections.abc import Mapping

import msgspec

from placet_contract.ids import matches_branch_id

WEIGHT = 100
"""Of an instance that says nothing else."""
WEIGHT_MAX = 10_000
URLS_MAX = 8


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One instance of a service, and how it is reached. Never changed: another state is another object.

    Attributes:
        instance_id: of the process, the same in all its connections; 1-64 of `A-Z a-z 0-9 _ - .`.
        urls: one per transport that it offers, the preferred first, such as `tcp://127.0.0.1:20880`.
        weight: its share of the calls, to those of the others; 0: none, it is being drained.
        zone: where it runs; empty if it does not say.
        up_since: when it started, in this process's own monotonic seconds; None: not known, and not lately.
        tags: what routers ask for, such as a version or a group.
        codecs: names that its TCP transport takes, the preferred first; empty: asked for in HELLO.
        actions: operations of each branch action that it offers; empty for services of methods.
        suspect: no longer in the registry, in circumstances that make the registry look wrong, and still answering.
    """

    instance_id: str
    urls: tuple[str, ...]
    weight: int = WEIGHT
    zone: str = ""
    up_since: float | None = None
    tags: Mapping[str, str] = {}
    codecs: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...]] = {}
    suspect: bool = False

    def __post_init__(self) -> None:
        if not matches_branch_id(self.instance_id):
            raise ValueError(f"{self.instance_id!r} is no instance_id: 1-64 of A-Z a-z 0-9 _ - .")
        if not 1 <= len(self.urls) <= URLS_MAX:
            raise ValueError(f"instance {self.instance_id} has {len(self.urls)} URLs: give 1 to {URLS_MAX}")
        if not 0 <= self.weight <= WEIGHT_MAX:
            raise ValueError(f"instance {self.instance_id} has weight {self.weight}: give 0 to {WEIGHT_MAX}")

    def url(self, *schemes: str) -> str | None:
        """Returns the first of its URLs with one of the schemes, such as `"tcp", "tcps"`; None if there is none."""
        return next((url for url in self.urls if url.partition(":")[0] in schemes), None)
