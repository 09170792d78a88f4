"""What a process counts of its calls, for Prometheus. Needs the extra `server`.

    registry.register(RpcMetrics(client=client, client_statistics=statistics, server=server))

Nothing is counted here: the figures are those of `statistics`, of the client's chain and of the registry's cache, read
when somebody scrapes. Labels are services, methods, classes of errors and words of fixed lists, never callers,
instances or keys, and of each family at most `SERIES_MAX` series are told. Latencies are percentiles of the last one
to two minutes, for that is what `statistics` keeps: they can't be added up over processes, counters can.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from placet_rpc.client import Client
from placet_rpc.configuration.live import LiveConfiguration
from placet_rpc.extension import import_optional
from placet_rpc.governance.statistics import RowState, Statistics, latency_of
from placet_rpc.policies.breaker import State
from placet_rpc.server import Server

SERIES_MAX = 1_000
"""Of one family. Beyond it counters are told as `OTHER`, all together; gauges are not, for they can't be added up."""
OTHER = "(other)"
_MICROSECONDS = 1e-6
_QUANTILES = {"0.5": "p50", "0.9": "p90", "0.99": "p99", "0.999": "p999"}

Labels = tuple[str, ...]


class RpcMetrics:
    """A collector, as `prometheus_client` calls it.

    Args:
        client: whose breakers, limits, substitutes, ejections and registry are told.
        client_statistics: of its calls: those that its `CallStatistics` in `Seams.statistics` counts.
        server: whose calls are told.
        configuration: whose state is told.

    Raises:
        ImportError: `prometheus_client` is missing; the message names the extra that brings it.
        ValueError: there is nothing to tell of.
    """

    def __init__(
        self,
        *,
        client: Client | None = None,
        client_statistics: Statistics | None = None,
        server: Server | None = None,
        configuration: LiveConfiguration | None = None,
    ) -> None:
        if client is None and client_statistics is None and server is None and configuration is None:
            raise ValueError("there is nothing to tell of: give a client, its statistics, a server or a configuration")
        core = import_optional("prometheus_client.core", "server")
        self._counter, self._gauge = core.CounterMetricFamily, core.GaugeMetricFamily
        self._client, self._server, self._configuration = client, server, configuration
        self._statistics: dict[str, Statistics] = {}
        if client_statistics is not None:
            self._statistics["client"] = client_statistics
        if server is not None:
            self._statistics["server"] = server.statistics

    def describe(self) -> Iterable[Any]:
        """Names nothing in advance: a registry need not collect when it is given this."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Turns the figures into families."""
        for side, statistics in self._statistics.items():
            yield from self._calls(side, statistics.states())
        if self._client is not None:
            yield from self._policies(self._client)
            yield from self._instances(self._client)
            yield from self._registry(self._client)
        if self._configuration is not None:
            yield from self._configured(self._configuration)

    # -- calls -------------------------------------------------------------------------------------------------

    def _calls(self, side: str, states: list[RowState]) -> Iterator[Any]:
        rows = _by_method(states)
        names = ("service", "method")
        prefix = f"placet_rpc_{side}"
        sums = {
            name: {method: float(sum(getattr(row, name) for row in each)) for method, each in rows.items()}
            for name in ("calls", "failed", "in_flight")
        }
        yield self._family(self._counter, f"{prefix}_calls", "Calls that ended.", names, sums["calls"])
        about = "Calls whose end speaks against the service: timeouts, lost connections, overload, faults."
        yield self._family(self._counter, f"{prefix}_failed_calls", about, names, sums["failed"])
        yield self._family(self._gauge, f"{prefix}_calls_in_flight", "Calls under way.", names, sums["in_flight"])
        errors: dict[Labels, float] = {}
        latencies: dict[Labels, float] = {}
        for method, each in rows.items():
            for row in each:
                for error, count in row.errors.items():
                    errors[*method, error] = errors.get((*method, error), 0) + count
            latency = latency_of(each)
            for quantile, name in _QUANTILES.items():
                value_us: float | None = getattr(latency, name)
                if value_us is not None:
                    latencies[*method, quantile] = value_us * _MICROSECONDS
        about = "Calls without a result, by class; exceptions of a contract are `raised`."
        yield self._family(self._counter, f"{prefix}_errors", about, (*names, "error"), errors)
        about = "What calls of the last one to two minutes took."
        yield self._family(self._gauge, f"{prefix}_recent_call_seconds", about, (*names, "quantile"), latencies)

    # -- the client --------------------------------------------------------------------------------------------

    def _policies(self, client: Client) -> Iterator[Any]:
        names = ("service", "method")
        breakers = client.chains.kept("breaker")
        states = {_split(name): float(breaker.state is not State.CLOSED) for name, breaker in breakers}
        about = "1 while a breaker is open or half-open, else 0."
        yield self._family(self._gauge, "placet_rpc_breaker_open", about, names, states)
        about = "How often breakers have opened."
        yield self._family(self._counter, "placet_rpc_breaker_opened", about, names, _sums(breakers, "opened"))
        refused = {(*method, "breaker"): count for method, count in _sums(breakers, "refused").items()}
        rates = _sums(client.chains.kept("rate"), "refused")
        refused.update({(*method, "rate_limit"): count for method, count in rates.items()})
        bulkheads = client.chains.kept("bulkhead")
        for service, bulkhead in bulkheads:
            refused[service, "", "bulkhead"] = refused.get((service, "", "bulkhead"), 0.0) + bulkhead.refused
        about = "Calls that were not made, by what forbade them; a bulkhead is of all methods of its service."
        yield self._family(self._counter, "placet_rpc_refused_calls", about, (*names, "by"), refused)
        taken: dict[Labels, float] = {}
        for service, bulkhead in bulkheads:
            taken[(service,)] = taken.get((service,), 0.0) + bulkhead.taken
        about = "Calls that have a place in a bulkhead."
        yield self._family(self._gauge, "placet_rpc_bulkhead_taken", about, ("service",), taken)
        degraded: dict[Labels, float] = {}
        for name, counts in client.chains.degradations.items():
            degraded[*_split(name), "forced"] = float(counts.forced)
            degraded[*_split(name), "failed"] = float(counts.failed)
        about = "Calls that were answered by a substitute: instead of being made, or after they had failed."
        yield self._family(self._counter, "placet_rpc_degraded_calls", about, (*names, "why"), degraded)

    def _instances(self, client: Client) -> Iterator[Any]:
        instances = client.chains.instances.items()
        known = {(service,): float(len(each.candidates.members)) for service, each in instances}
        yield self._family(self._gauge, "placet_rpc_instances", "Instances that calls may go to.", ("service",), known)
        out = {(service,): float(len(each.ejection.ejected())) for service, each in instances}
        about = "Of these, those that are left out for misbehaving."
        yield self._family(self._gauge, "placet_rpc_ejected_instances", about, ("service",), out)
        ejections = {(service,): float(each.ejection.count) for service, each in instances}
        about = "How often instances were left out for misbehaving."
        yield self._family(self._counter, "placet_rpc_ejections", about, ("service",), ejections)

    def _registry(self, client: Client) -> Iterator[Any]:
        if client.directory is None:
            return
        cache = client.directory.cache
        ages: dict[Labels, float] = {}
        for service in cache.followers:
            age = cache.age(service)
            if age is not None:  # one that never spoke has no age: its absence says so
                ages[(service,)] = age.total_seconds()
        about = "How long ago the registry last said what it says of a service."
        yield self._family(self._gauge, "placet_rpc_registry_age_seconds", about, ("service",), ages)
        followers = cache.followers.items()
        outages = {(service,): float(follower.outages) for service, follower in followers}
        about = "How often the registry was lost."
        yield self._family(self._counter, "placet_rpc_registry_outages", about, ("service",), outages)
        doubts = {(service,): float(follower.is_in_doubt) for service, follower in followers}
        about = "1 while the registry is not believed, and instances are kept that it does not list."
        yield self._family(self._gauge, "placet_rpc_registry_in_doubt", about, ("service",), doubts)
        failures = {(): float(cache.save_failures)}
        about = "How often the registry's last word could not be saved."
        yield self._family(self._counter, "placet_rpc_registry_save_failures", about, (), failures)

    # -- configuration -----------------------------------------------------------------------------------------

    def _configured(self, configuration: LiveConfiguration) -> Iterator[Any]:
        counts = {(verdict.value,): float(count) for verdict, count in configuration.counts.items()}
        about = "Documents of live configuration, by what became of them."
        yield self._family(self._counter, "placet_rpc_configurations", about, ("verdict",), counts)
        about = "1 while the latest document is refused and an older one holds."
        rejected = {(): float(bool(configuration.rejected))}
        yield self._family(self._gauge, "placet_rpc_configuration_rejected", about, (), rejected)
        age = configuration.age
        ages = {} if age is None else {(): age.total_seconds()}
        about = "How long ago the source of the configuration last said anything."
        yield self._family(self._gauge, "placet_rpc_configuration_age_seconds", about, (), ages)

    @staticmethod
    def _family(kind: Any, name: str, about: str, labels: Labels, figures: Mapping[Any, float]) -> Any:
        family = kind(name, about, labels=labels)
        values = sorted(figures.items())
        for labelled, value in values[:SERIES_MAX]:
            family.add_metric(labelled, value)
        if len(values) > SERIES_MAX and family.type == "counter":
            family.add_metric((OTHER,) * len(labels), sum(value for _, value in values[SERIES_MAX:]))
        return family


def _by_method(states: Iterable[RowState]) -> dict[Labels, list[RowState]]:
    """Puts the rows of all callers and instances together: who calls is said by callers, so it is no label."""
    rows: dict[Labels, list[RowState]] = {}
    for state in states:
        rows.setdefault((state.service, state.method), []).append(state)
    return rows


def _split(name: str) -> Labels:
    service, _, method = name.rpartition(".")
    return service, method


def _sums(kept: Iterable[tuple[str, Any]], attribute: str) -> dict[Labels, float]:
    """Adds up the counts of a method: another one began when its limits were changed."""
    sums: dict[Labels, float] = {}
    for name, state in kept:
        sums[_split(name)] = sums.get(_split(name), 0.0) + getattr(state, attribute)
    return sums
