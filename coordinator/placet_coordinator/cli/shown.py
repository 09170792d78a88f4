"""How the commands print: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from placet_coordinator.colours import coloured

PLAIN_WIDTH = 160
"""Columns when the output is no terminal: nothing is cut there."""


def as_json(data: Any) -> None:
    """Print JSON for reading."""
    typer.echo(json.dumps(data, indent=2, ensure_ascii=False))


def as_lines(items: list[Any]) -> None:
    """Print one JSON object a line."""
    for item in items:
        typer.echo(json.dumps(item, ensure_ascii=False, separators=(",", ":")))


def as_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Print plain text in columns; without rows the words for that."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    if table.row_count:
        _console().print(table)
    else:
        typer.echo(empty)


def transaction_table(items: list[dict[str, Any]]) -> None:
    """Print a page of transactions."""
    table = Table(box=None, pad_edge=False)
    for column in ("gid", "pattern", "name", "key", "status", "reason", "branches", "age", "next attempt", "attention"):
        table.add_column(column, overflow="fold", no_wrap=column != "attention")
    for item in items:
        done = sum(branch["status"] not in {"pending", "done"} for branch in item["branches"])
        if item["status"] == "committed":
            done = len(item["branches"])
        table.add_row(
            escape(item["gid"]),
            item["pattern"] or "",
            escape(item["name"] or ""),
            escape(item["key"] or ""),
            coloured(item["status"]),
            item["reason"] or "",
            f"{done}/{len(item['branches'])}",
            _distance(item["created_at"]),
            _distance(item["next_attempt_at"]),
            escape(item["attention"] or ""),
        )
    if items:
        _console().print(table)
    else:
        typer.echo("no transactions")


def transaction(view: dict[str, Any]) -> None:
    """Print one transaction."""
    console = _console()
    console.print(f"[bold]{escape(view['gid'])}[/bold] is {coloured(view['status'])}{_because(view)}")
    facts = {
        "pattern": view["pattern"],
        "name": view["name"],
        "key": view["key"],
        "parent": view["parent"],
        "node": view["node"],
        "version": view["version"],
        "created": view["created_at"],
        "decided": view["decided_at"],
        "finished": view["finished_at"],
        "next attempt": view["next_attempt_at"] and f"{view['next_attempt_at']} ({_distance(view['next_attempt_at'])})",
    }
    console.print("  ".join(f"{name} {escape(str(value))}" for name, value in facts.items() if value), soft_wrap=True)
    if view["attention"]:
        console.print(f"[red]needs attention:[/red] {escape(view['attention'])}", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for column in ("branch", "target", "status", "attempts", "next attempt", "note"):
        table.add_column(column, overflow="fold")
    for branch in view["branches"]:
        target = branch["target"]
        table.add_row(
            escape(branch["branch_id"]),
            escape(target if isinstance(target, str) else json.dumps(target)),
            coloured(branch["status"]),
            str(branch.get("attempts", 0)),
            _distance(branch.get("next_attempt_at")),
            escape(branch.get("attention") or branch.get("note") or ""),
        )
    if view["branches"]:
        console.print(table)
    for line in story_lines(view):
        console.print(f"  {escape(line)}", soft_wrap=True)


def story_lines(view: dict[str, Any]) -> list[str]:
    """Return a transaction's story, one line an event."""
    lines = []
    for entry in view["timeline"]:
        call = f" {entry['branch_id']}/{entry.get('op')}" if entry.get("branch_id") else ""
        detail = f": {entry['detail']}" if entry.get("detail") else ""
        lines.append(f"{entry['at']}  {entry['event']}{call}{detail}")
    return lines


def _because(view: dict[str, Any]) -> str:
    reason = ": ".join(part for part in (view["reason"], view["reason_text"]) if part)
    mark = ", heuristic" if view["heuristic"] else ""
    return f" ({escape(reason)}{mark})" if reason else mark


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)


def _distance(instant: str | None) -> str:
    """Return how far an instant is from now: `3 s`, `in 2 min`."""
    if instant is None:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds()
    return f"in {duration(-seconds)}" if seconds < 0 else duration(seconds)


def duration(seconds: float) -> str:
    """Return a time in its largest unit: `3 s`, `2 min`."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
