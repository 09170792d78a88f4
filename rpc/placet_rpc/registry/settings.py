"""The named limits of a client's registry cache."""

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from placet_rpc.registry.registry import REFRESH


def user_cache_folder() -> Path:
    """Returns where this user's programs keep what may be lost: `XDG_CACHE_HOME`, else `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "placet" / "registry"


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Limits of a `RegistryCache`.

    Attributes:
        folder: where the last good snapshots are kept for the next start; None: nowhere.
        hold: how long an instance that a registry in doubt does not list is kept while it answers.
        max_age: an older file is not believed; None: any is better than none.
        probe_interval: how often an instance in doubt is asked, give or take a fifth.
        probe_timeout: how long its answer may take.
        max_probes: instances that are asked at a time.
        retry_first: wait before a failed watch is begun again, at most; doubled by each further failure.
        retry_cap: the longest such wait.
        silence: a watch that says nothing for so long is begun again; longer than `REFRESH`.
    """

    folder: Path | None = field(default_factory=user_cache_folder)
    hold: timedelta = timedelta(seconds=60)
    max_age: timedelta | None = None
    probe_interval: timedelta = timedelta(seconds=1)
    probe_timeout: timedelta = timedelta(seconds=1)
    max_probes: int = 16
    retry_first: timedelta = timedelta(milliseconds=250)
    retry_cap: timedelta = timedelta(seconds=5)
    silence: timedelta = timedelta(seconds=20)

    def __post_init__(self) -> None:
        for name in ("hold", "probe_interval", "probe_timeout", "retry_first", "retry_cap", "silence"):
            if getattr(self, name) <= timedelta():
                raise ValueError(f"{name} must be longer than nothing")
        if self.max_probes < 1:
            raise ValueError("max_probes must be at least 1")
        if self.silence <= REFRESH:
            raise ValueError(f"silence must be longer than the {REFRESH} within which every watch says something")
