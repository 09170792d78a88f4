"""Metrics for Prometheus: plain integers on the hot path, turned into families when somebody scrapes.

No label holds a gid, a branch id or a URL. Names and participants come from clients, so their number is bounded.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from placet_coordinator import native
from placet_coordinator.core.transaction import Transaction

CONTENT_TYPE = CONTENT_TYPE_LATEST
NAMES_MAX = 200
"""Transaction names that get a label of their own; later ones are counted as `other`."""
PARTICIPANTS_MAX = 200
OTHER = "other"
BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 600_000, 3_600_000)

Open = Iterable[tuple[str | None, str, int, int]]
Attention = Iterable[tuple[str | None, str, int]]


class Durations:
    """A histogram as plain figures: counts by bucket, the last one open-ended, and the sum in ms."""

    __slots__ = ("counts", "sum_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_MS) + 1)
        self.sum_ms = 0.0

    def add(self, duration_ms: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(BUCKETS_MS, duration_ms)] += 1
        self.sum_ms += duration_ms

    def buckets(self) -> list[tuple[str, float]]:
        """Return the counts up to each bound in seconds, as Prometheus adds them up."""
        total, buckets = 0, []
        for bound_ms, count in zip((*BUCKETS_MS, None), self.counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound_ms is None else str(bound_ms / 1_000), float(total)))
        return buckets


class StoreFigures:
    """What the store says about all nodes' transactions, as of the last refresh."""

    def __init__(self) -> None:
        self.open: Open = ()
        self.attention: Attention = ()
        self.due: tuple[int, int | None] = (0, None)
        self.nodes_live = 0
        self.now_ms = 0
        self.statistics: dict[str, int] = {}


class Metrics(Collector):
    """The coordinator's figures; the counting half of the observer port.

    Each method does a dictionary look-up and an addition: it is called on the hot path.

    Args:
        writer_process_id: returns the store's own process, None if there is none; see the store port.
    """

    def __init__(self, writer_process_id: Callable[[], int | None]) -> None:
        self.store = StoreFigures()
        self._started: dict[tuple[str, str], int] = {}
        self._finished: dict[tuple[str, str, str], int] = {}
        self._took: dict[tuple[str, str], Durations] = {}
        self._calls: dict[tuple[str, str, str], Durations] = {}
        self._participants: set[str] = set()
        self._names: set[str] = set()
        self._flushes = Durations()
        self._flushed_entries = 0
        self._troubles: dict[str, int] = {}
        self._registry = CollectorRegistry()
        # Of a process that does not run there is nothing to read, and so nothing is told.
        writer = ProcessCollector("placet_store_writer", lambda: writer_process_id() or "none", registry=None)
        for collector in (ProcessCollector(registry=None), writer, PlatformCollector(registry=None), self):
            self._registry.register(collector)
        GCCollector(registry=self._registry)

    # --- counting

    def started(self, transaction: Transaction) -> None:
        """Count a begin."""
        key = (str(transaction.pattern or ""), self._name(transaction.name))
        self._started[key] = self._started.get(key, 0) + 1

    def finished(self, transaction: Transaction) -> None:
        """Count an end, and how long it took."""
        pattern, status = str(transaction.pattern or ""), str(transaction.status)
        key = (pattern, self._name(transaction.name), status)
        self._finished[key] = self._finished.get(key, 0) + 1
        if transaction.finished_at_ms is not None:
            took = self._took.get((pattern, status))
            if took is None:
                took = self._took[pattern, status] = Durations()
            took.add(transaction.finished_at_ms - transaction.created_at_ms)

    def called(self, participant: str, operation: str, outcome: str, duration_ms: int) -> None:
        """Count a call of a branch."""
        key = (participant, operation, outcome)
        took = self._calls.get(key)
        if took is None:
            if participant not in self._participants:
                if len(self._participants) >= PARTICIPANTS_MAX:
                    key = (OTHER, operation, outcome)
                else:
                    self._participants.add(participant)
            took = self._calls.setdefault(key, Durations())
        took.add(duration_ms)

    def flushed(self, entries: int, duration_ms: float) -> None:
        """Count a batch of the journal."""
        self._flushed_entries += entries
        self._flushes.add(duration_ms)

    def trouble(self, what: str) -> None:
        """Count a trouble by its kind."""
        self._troubles[what] = self._troubles.get(what, 0) + 1

    def _name(self, name: str | None) -> str:
        if name is None:
            return ""
        if name not in self._names:
            if len(self._names) >= NAMES_MAX:
                return OTHER
            self._names.add(name)
        return name

    # --- telling

    def render(self) -> bytes:
        """Return the exposition, in Prometheus' text format."""
        return generate_latest(self._registry)

    def describe(self) -> Iterable[Metric]:
        """Name nothing in advance: the registry need not collect at registration."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Turn the figures into families."""
        yield from self._transactions()
        yield from self._branch_calls()
        yield from self._of_store()
        info = GaugeMetricFamily(
            "placet_build_info", "Constant 1, labelled with what runs.", labels=["version", "runs"]
        )
        info.add_metric([build_version(), "plain" if native.running() is None else "compiled"], 1)
        yield info
        troubles = CounterMetricFamily(
            "placet_troubles", "Troubles that were logged: a lease lost, the store away.", labels=["what"]
        )
        for what, count in self._troubles.items():
            troubles.add_metric([what], count)
        yield troubles

    def _transactions(self) -> Iterator[Metric]:
        started = CounterMetricFamily(
            "placet_transactions_started", "Transactions begun on this node.", labels=["pattern", "name"]
        )
        for labels, count in self._started.items():
            started.add_metric(labels, count)
        yield started
        finished = CounterMetricFamily(
            "placet_transactions_finished", "Transactions ended on this node.", labels=["pattern", "name", "outcome"]
        )
        for ended, count in self._finished.items():
            finished.add_metric(ended, count)
        yield finished
        yield _histogram(
            "placet_transaction_duration_seconds", "From begin to end.", ["pattern", "outcome"], self._took.items()
        )

    def _branch_calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily(
            "placet_branch_calls", "Calls of branches by what they told.", labels=["participant", "op", "outcome"]
        )
        by_operation: dict[tuple[str, str], Durations] = {}
        for (participant, operation, outcome), took in self._calls.items():
            calls.add_metric((participant, operation, outcome), sum(took.counts))
            total = by_operation.setdefault((participant, operation), Durations())
            total.counts = [one + other for one, other in zip(total.counts, took.counts, strict=True)]
            total.sum_ms += took.sum_ms
        yield calls
        yield _histogram(
            "placet_branch_call_seconds", "How long calls took.", ["participant", "op"], by_operation.items()
        )

    def _of_store(self) -> Iterator[Metric]:
        store = self.store
        opened = GaugeMetricFamily(
            "placet_transactions_open", "Open transactions of all nodes.", labels=["pattern", "status"]
        )
        oldest = GaugeMetricFamily(
            "placet_oldest_open_age_seconds", "Age of the oldest open transaction.", labels=["pattern"]
        )
        oldest_at_ms: dict[str, int] = {}
        for pattern, status, count, created_at_ms in store.open:
            opened.add_metric([pattern or "", status], count)
            oldest_at_ms[pattern or ""] = min(created_at_ms, oldest_at_ms.get(pattern or "", created_at_ms))
        for pattern, at_ms in oldest_at_ms.items():
            oldest.add_metric([pattern], max(store.now_ms - at_ms, 0) / 1_000)
        attention = GaugeMetricFamily(
            "placet_attention_transactions",
            "Transactions that need a human; with status aborting it is undoing that fails.",
            labels=["pattern", "status"],
        )
        for pattern, status, count in store.attention:
            attention.add_metric([pattern or "", status], count)
        yield from (opened, oldest, attention)
        due_count, due_since_ms = store.due
        yield GaugeMetricFamily("placet_retry_due", "Open transactions whose next attempt is due.", due_count)
        lag_ms = 0 if due_since_ms is None else max(store.now_ms - due_since_ms, 0)
        yield GaugeMetricFamily("placet_retry_lag_seconds", "How long the first of them has been due.", lag_ms / 1_000)
        yield GaugeMetricFamily("placet_nodes_live", "Coordinator processes with a live lease.", store.nodes_live)
        yield CounterMetricFamily(
            "placet_journal_entries", "Transactions' writes, gathered into batches.", self._flushed_entries
        )
        yield _histogram("placet_store_seconds", "How long a batch took.", ["op"], [(("journal",), self._flushes)])
        for name, count in store.statistics.items():
            yield CounterMetricFamily(f"placet_store_{name}", f"The store's {name} since it was opened.", count)


def _histogram(
    name: str, about: str, labels: list[str], figures: Iterable[tuple[tuple[str, ...], Durations]]
) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, about, labels=labels)
    for values, took in figures:
        family.add_metric(values, took.buckets(), took.sum_ms / 1_000)
    return family


def build_version() -> str:
    """Return the installed version."""
    try:
        return version("placet")
    except PackageNotFoundError:
        return "0"
