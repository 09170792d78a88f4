"""Settings that are changed while a process runs: read, checked as a whole, then applied as a whole or not at all.

    async with Client(registry=…) as client, LiveConfiguration("file:/etc/placet/order.json", client=client):
        ...

Between two calls either all of a document holds or nothing of it. One that is refused leaves the last good one in
force, and so does one that is gone, and a source that is down: `rejected` and `trouble` say why, `changes` what was.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from types import TracebackType
from typing import Self

from placet_contract.backoff import backoff_ms
from placet_rpc.balancing import make_balancer
from placet_rpc.chance import Chance, new_chance
from placet_rpc.client import Client
from placet_rpc.clock import SYSTEM_CLOCK, Clock, within
from placet_rpc.cluster import ClusterContext, make_cluster
from placet_rpc.configuration.change import Change, Verdict, differences_of
from placet_rpc.configuration.document import Document, overrides_of, read_document
from placet_rpc.configuration.opening import SourceContext, open_source
from placet_rpc.configuration.source import REFRESH, ConfigurationSource, SourceUnavailable, Stored
from placet_rpc.governance.access import AccessList
from placet_rpc.policies.degradation import Substitute
from placet_rpc.settings import Settings

CHANGES_MAX = 100
"""The latest changes that are kept in memory."""
FIRST_WORD = timedelta(seconds=3)
SILENCE = 4 * REFRESH
"""A watch that says nothing for so long is begun again."""
RETRY_FIRST_MS = 250
RETRY_CAP_MS = 5_000

_log = logging.getLogger("placet_rpc.configuration")

Overrides = dict[tuple[str, str], Settings]


class LiveConfiguration:
    """Follows one source; an async context manager.

    It owns what stands on top of all levels (`Client.override`) for whatever a document names: what the next one does
    not name is taken back.

    Args:
        source: by its URL (`open_source`), or opened; it is closed with this object.
        client: whose settings are changed; closing it stays the user's.
        access: a server's list, whose rules are changed.
        substitutes: by the names under which documents may use them.
        on_change: told of each document after its verdict.
        clock: where time comes from.
        chance: where jitter comes from.

    Attributes:
        document: what holds.
        revision: of it; empty: nothing was applied yet.
        rejected: why the source's latest document does not hold, in words; empty if it does.
        trouble: why the source says nothing, in words; empty while it does.
        changes: the latest, at most `CHANGES_MAX`, the oldest first.
        counts: documents by verdict, since the start.

    Raises:
        ValueError: there is nothing that could be configured, or the URL is no source's.
    """

    def __init__(
        self,
        source: str | ConfigurationSource,
        *,
        client: Client | None = None,
        access: AccessList | None = None,
        substitutes: Mapping[str, Substitute] | None = None,
        on_change: Callable[[Change], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        chance: Chance | None = None,
    ) -> None:
        if client is None and access is None:
            raise ValueError("there is nothing to configure: give a client, or a server's access list, or both")
        chance = chance or new_chance()
        if isinstance(source, str):
            source = open_source(source, SourceContext(clock=clock, chance=chance))
        self.document = Document()
        self.revision = self.rejected = self.trouble = ""
        self.changes: deque[Change] = deque(maxlen=CHANGES_MAX)
        self.counts = dict.fromkeys(Verdict, 0)
        self._source, self._client, self._access = source, client, access
        self._own_rules = () if access is None else access.rules
        self._substitutes = dict(substitutes or {})
        self._on_change = on_change
        self._clock, self._chance = clock, chance
        self._overrides: Overrides = {}
        self._seen = ""
        self._confirmed_at: float | None = None
        self._failures = 0
        self._spoken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def age(self) -> timedelta | None:
        """How long ago the source last said anything; None: it never did."""
        if self._confirmed_at is None:
            return None
        return timedelta(seconds=self._clock.monotonic() - self._confirmed_at)

    async def start(self, wait: timedelta = FIRST_WORD) -> None:
        """Begins to follow the source.

        Args:
            wait: for its first word; without it the program's own settings hold until it comes.
        """
        self._task = asyncio.create_task(self._follow())
        try:
            await within(self._clock, wait.total_seconds(), self._spoken.wait())
        except TimeoutError:
            _log.warning("the configuration says nothing yet, the program's own settings hold: %s", self.trouble)

    async def aclose(self) -> None:
        """Ends the watch and closes the source. What was applied stays."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._source.aclose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- following ---------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        silence = SILENCE.total_seconds()
        while True:
            try:
                async with aclosing(self._source.watch()) as watch:
                    while True:
                        self._take(await within(self._clock, silence, anext(watch)))
            except SourceUnavailable as error:
                self._note_failure(str(error))
            except (TimeoutError, StopAsyncIteration):
                self._note_failure(f"it has said nothing for {silence:g} s")
            except Exception as error:  # noqa: BLE001 - a fault of one adapter must not end the watch for ever
                _log.exception("the watch of the configuration failed")
                self._note_failure(type(error).__name__)
            draw = self._chance.random()
            wait_ms = backoff_ms(self._failures, first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS, chance=draw)
            await self._clock.sleep(wait_ms / 1000)

    def _note_failure(self, why: str) -> None:
        if not self._failures:
            _log.warning("the configuration can't be read, what it last said holds: %s", why)
        self._failures += 1
        self.trouble = why

    def _take(self, stored: Stored | None) -> None:
        self._confirmed_at = self._clock.monotonic()
        if self._failures:
            _log.info("the configuration can be read again")
        self._failures = 0
        self.trouble = "there is no document" if stored is None else ""
        if stored is not None and stored.revision != self._seen:
            self._seen = stored.revision
            self._judge(stored)
        self._spoken.set()

    def _judge(self, stored: Stored) -> None:
        document, before, why = Document(), self.document, ""
        try:
            document = read_document(stored.document)
            self._apply(document)
        except Exception as error:  # noqa: BLE001 - parts of other packages may say no by whatever they raise
            why = str(error) or type(error).__name__
        change = Change(
            seen_at_ms=int(self._clock.wall() * 1000),
            revision=stored.revision,
            verdict=Verdict.REJECTED if why else Verdict.APPLIED,
            why=why,
            changed_by=stored.changed_by or document.changed_by,
            changed_at_ms=stored.changed_at_ms,
            reason=document.reason,
            differences=() if why else differences_of(before, document),
        )
        self.rejected = why
        if not why:
            self.document, self.revision = document, stored.revision
        self._note(change)

    def _note(self, change: Change) -> None:
        self.changes.append(change)
        self.counts[change.verdict] += 1
        who = change.changed_by or "(unknown)"
        if change.verdict is Verdict.APPLIED:
            many = len(change.differences)
            _log.info("configuration %s of %s holds now: %d differences", change.revision, who, many)
        else:
            message = "configuration %s of %s is refused, %s holds: %s"
            _log.error(message, change.revision, who, self.revision or "none", change.why)
        if self._on_change is not None:
            try:
                self._on_change(change)
            except Exception:  # noqa: BLE001 - it is not ours, and what was applied stays applied
                _log.exception("an observer of the configuration failed")

    # -- applying ----------------------------------------------------------------------------------------------

    def _apply(self, document: Document) -> None:
        """Puts a document in force, without ever giving up control between its first setting and its last."""
        overrides = overrides_of(document, self._substitutes)
        if self._client is not None:
            self._check_parts(self._client, overrides)
            self._override(self._client, overrides)
        if self._access is not None:
            self._access.replace(document.access if isinstance(document.access, list) else self._own_rules)

    def _check_parts(self, client: Client, overrides: Overrides) -> None:
        """Makes the parts that are named: a service that nobody refers to yet would not try them."""
        chains = client.chains
        for settings in overrides.values():
            if "balancer" in settings:
                make_balancer(settings["balancer"], chains.clock, chains.chance)
            if "cluster" in settings:
                make_cluster(settings["cluster"], ClusterContext(chains.clock, chains.chance, chains.failback))

    def _override(self, client: Client, overrides: Overrides) -> None:
        before, done = self._overrides, list[tuple[str, str]]()
        try:
            for service, method in sorted(before.keys() | overrides.keys()):
                client.override(service, method, **overrides.get((service, method), Settings()))
                done.append((service, method))
        except Exception:
            # What held a moment ago suited all references, and there was no moment in which one could be added.
            for service, method in reversed(done):
                client.override(service, method, **before.get((service, method), Settings()))
            raise
        self._overrides = overrides
