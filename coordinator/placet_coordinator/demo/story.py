"""What the demo prints: scenes, timelines of transactions, and checks, each of which holds or is counted as off."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from placet_coordinator.colours import coloured

PLAIN_WIDTH = 110
"""Columns when the output is no terminal."""


class Story:
    """Prints the demo, in colours on a terminal and in plain lines elsewhere.

    Attributes:
        checks: how many checks were made.
        off: what did not hold, in words.
    """

    def __init__(self) -> None:
        console = Console(highlight=False)
        self._console = console if console.is_terminal else Console(highlight=False, width=PLAIN_WIDTH)
        self.checks = 0
        self.off: list[str] = []

    def title(self, text: str) -> None:
        """Begin a scene."""
        self._console.print()
        self._console.rule(f"[bold]{escape(text)}[/bold]", align="left", characters="─")

    def say(self, text: str) -> None:
        """Print a sentence."""
        self._console.print(escape(text), soft_wrap=True)

    def trouble(self, text: str) -> None:
        """Print what went wrong."""
        self._console.print(f"[red]{escape(text)}[/red]", soft_wrap=True)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Show that something is being done: a spinner on a terminal, a line elsewhere."""
        if not self._console.is_terminal:
            self._console.print(f"{escape(what)} …")
            yield
            return
        with self._console.status(escape(what)):
            yield

    def timeline(self, view: dict[str, Any]) -> None:
        """Print a transaction's story, then its branches."""
        targets = {branch["branch_id"]: _target(branch) for branch in view["branches"]}
        table = Table.grid(padding=(0, 2))
        table.add_column(justify="right", style="dim", no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for entry in view["timeline"]:
            branch_id = entry.get("branch_id")
            call = f"{targets.get(branch_id, branch_id)}/{entry.get('op')}" if branch_id else ""
            table.add_row(
                f"+{_elapsed_ms(view['created_at'], entry['at'])} ms",
                coloured(entry["event"]),
                escape(call),
                escape(entry.get("detail") or ""),
            )
        ends = "  ".join(f"{escape(targets[b['branch_id']])} {coloured(b['status'])}" for b in view["branches"])
        reason = f", reason {view['reason']}" if view["reason"] else ""
        self._console.print(f"{view['pattern']} [bold]{escape(view['gid'])}[/bold] is ", end="")
        self._console.print(f"{coloured(view['status'])}{escape(reason)}")
        self._console.print(table)
        self._console.print(f"branches: {ends}", soft_wrap=True)

    def check(self, what: str, actual: object, expected: object) -> None:
        """Print whether something is as it has to be, and remember if it is not."""
        self.checks += 1
        if actual == expected:
            self._console.print(f"[green]✓[/green] {escape(what)}: {escape(str(actual))}", soft_wrap=True)
            return
        self.off.append(f"{what}: {actual}, expected {expected}")
        self._console.print(
            f"[red]✗ {escape(what)}: {escape(str(actual))}, expected {escape(str(expected))}[/red]", soft_wrap=True
        )


def _target(branch: dict[str, Any]) -> str:
    target = branch["target"]
    return target if isinstance(target, str) else branch["branch_id"]


def _elapsed_ms(start: str, end: str) -> int:
    return round((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1_000)
