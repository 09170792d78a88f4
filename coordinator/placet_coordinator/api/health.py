"""Whether this process lives, whether calls can be served, and its metrics."""

import asyncio
import time

from fastapi import Request

from placet_contract import problems
from placet_contract.nodes import HealthReply
from placet_contract.problems import problem
from placet_coordinator.api.answers import Answer, encode, of_problem
from placet_coordinator.api.calls import ApiCall, Reply
from placet_coordinator.observability.metrics import CONTENT_TYPE, Metrics, build_version
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.store import Store, StoreError

PING_TIMEOUT_S = 2.0
FIGURES_KEPT_S = 1.0
"""The counts over all open rows are read at most this often, however many scrape."""


class Health:
    """`/healthz`, `/readyz` and `/metrics`.

    Attributes:
        draining: set when the server is asked to stop: it says so before it stops accepting.
        tcp_url: where the TCP transport is served, set once it is.
    """

    def __init__(self, *, store: Store, owner: Owner, metrics: Metrics) -> None:
        self._store, self._owner, self._metrics = store, owner, metrics
        self.draining = False
        self.tcp_url: str | None = None
        self._figures_at = float("-inf")
        self._reading = asyncio.Lock()

    def calls(self) -> tuple[ApiCall, ...]:
        """Return the declared calls."""
        reply = {"status": "ok", "node": "box-8470", "version": "0.1.0", "tcp_url": "tcp://127.0.0.1:41234"}
        return (
            ApiCall(
                "GET",
                "/healthz",
                "healthz",
                "Whether the process lives",
                self.live,
                (Reply(200, "It does.", HealthReply, reply),),
                tag="health",
                is_open=True,
            ),
            ApiCall(
                "GET",
                "/readyz",
                "readyz",
                "Whether calls can be served",
                self.ready,
                (Reply(200, "Database reached, lease held, not draining.", HealthReply, reply),),
                problems=(503,),
                tag="health",
                is_open=True,
            ),
            ApiCall(
                "GET",
                "/metrics",
                "metrics",
                "Metrics for Prometheus",
                self.metrics,
                (Reply(200, "Prometheus' text format.", None, None, "text/plain"),),
                tag="health",
            ),
        )

    async def live(self, _request: Request) -> Answer:
        """Answer that the loop turns."""
        return self._said("ok")

    async def ready(self, _request: Request) -> Answer:
        """Answer whether calls can be served; the problem names the cause."""
        cause = await self.cause_of_unreadiness()
        if cause is None:
            return self._said("ready")
        told = problem(problems.UNAVAILABLE, "Calls can't be served", 503, detail=cause)
        return of_problem(told, (b"retry-after", b"1"))

    async def metrics(self, _request: Request) -> Answer:
        """Answer the metrics; the store's part is the last good one while it is away."""
        async with self._reading:
            if time.monotonic() - self._figures_at > FIGURES_KEPT_S:
                self._figures_at = time.monotonic()
                await self._read_figures()
        return Answer(200, self._metrics.render(), ((b"content-type", CONTENT_TYPE.encode()),))

    async def cause_of_unreadiness(self) -> str | None:
        """Return why calls can't be served now, or None if they can."""
        if self.draining:
            return "this node is draining: it stops"
        if not self._owner.holds_lease:
            return "this node holds no lease at the moment: the database is away or slow"
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                await self._store.ping()
        except TimeoutError:
            return f"the database gave no answer within {PING_TIMEOUT_S:g} s; run `placet doctor` on the server"
        except StoreError:
            return "the database can't be reached; run `placet doctor` on the server"
        return None

    async def _read_figures(self) -> None:
        figures = self._metrics.store
        figures.statistics = self._store.statistics()
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                figures.now_ms = await self._store.ping()
                figures.open = await self._store.count_open()
                figures.attention = await self._store.count_attention()
                figures.due = await self._store.count_due(figures.now_ms)
                nodes = await self._store.nodes()
        except (TimeoutError, StoreError):
            return
        figures.nodes_live = sum(node.lease_until_ms > figures.now_ms for node in nodes)

    def _said(self, status: str) -> Answer:
        reply = HealthReply(status, self._owner.node_id, build_version(), None if self.draining else self.tcp_url)
        return Answer(200, encode(reply))
