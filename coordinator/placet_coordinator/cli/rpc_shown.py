"""How `placet rpc` prints."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import typer

from placet_coordinator.cli import shown
from placet_rpc.governance.call_graph import CallGraph, Edge
from placet_rpc.governance.statistics import RowState
from placet_rpc.inspection import ListedInstance

UNKNOWN = "?"


def instances(found: Sequence[ListedInstance], *, as_json: bool) -> None:
    """Print instances by service."""
    if as_json:
        shown.as_json(_members(found))
        return
    columns = ("service", "instance", "reached at", "weight", "zone", "age", "lease until")
    rows = (
        (
            instance.service,
            instance.instance_id,
            " ".join(instance.urls),
            UNKNOWN if instance.weight is None else str(instance.weight),
            instance.zone,
            UNKNOWN if instance.age_seconds is None else shown.duration(instance.age_seconds),
            instance.lease_until or "",
        )
        for instance in found
    )
    shown.as_table(columns, rows, "no instances")


def statistics(rows: Iterable[RowState], *, as_json: bool) -> None:
    """Print what a server has counted."""
    if as_json:
        shown.as_json([_row(row) for row in rows])
        return
    columns = (
        *("caller", "service", "method", "calls", "failed", "in flight", "per s", "p50 ms", "p99 ms", "max ms"),
        *("avail. 1 min", "5 min", "1 h", "errors"),
    )
    printed = (
        (
            *(row.caller or UNKNOWN, row.service, row.method),
            *(str(row.calls), str(row.failed), str(row.in_flight), f"{row.per_second:.1f}"),
            *(_milliseconds(row.latency.p50), _milliseconds(row.latency.p99), _milliseconds(row.max_us)),
            _share(row.availability.one_minute),
            _share(row.availability.five_minutes),
            _share(row.availability.one_hour),
            " ".join(f"{name}:{count}" for name, count in sorted(row.errors.items())),
        )
        for row in rows
    )
    shown.as_table(columns, printed, "no calls yet")


def graph(found: CallGraph, upwards: Sequence[Edge], output: str) -> None:
    """Print who calls whom, and on standard error what is wrong with it; as JSON all of it together."""
    cycles = found.cycles()
    if output == "json":
        shown.as_json(
            {
                "edges": _members(found.edges),
                "cycles": cycles,
                "against_layers": _members(upwards),
            }
        )
        return
    if output == "table":
        columns = ("caller", "callee", "service", "calls", "failed")
        rows = ((edge.caller, edge.callee, edge.service, str(edge.calls), str(edge.failed)) for edge in found.edges)
        shown.as_table(columns, rows, "no calls yet")
    else:
        typer.echo(found.mermaid() if output == "mermaid" else found.dot(), nl=False)
    for cycle in cycles:
        who = f"{', '.join(cycle)} call each other" if len(cycle) > 1 else f"{cycle[0]} calls itself"
        typer.echo(f"placet: in a circle: {who}; full pools would block it for ever: break one of the calls", err=True)
    for edge in upwards:
        typer.echo(
            f"placet: against the layers: {edge.caller} calls {edge.callee} ({edge.service}); "
            "turn the call round, or move an application",
            err=True,
        )


def _row(row: RowState) -> dict[str, Any]:
    (told,) = _members([row])
    del told["buckets"]
    return {**told, "latency_us": msgspec.to_builtins(row.latency)}


def _members(structs: Iterable[msgspec.Struct]) -> list[dict[str, Any]]:
    """Return all members of each: on the wire defaults are left out, but programs should not have to know them."""
    members: list[dict[str, Any]] = msgspec.to_builtins([msgspec.structs.asdict(struct) for struct in structs])
    return members


def _milliseconds(value_us: float | None) -> str:
    return "" if value_us is None else f"{value_us / 1_000:.1f}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3%}"
