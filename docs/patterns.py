"""Draws docs/reference/patterns.md from the patterns' tables of legal moves, so that the page can't say anything else.

Without arguments it writes the page; with `--check` it fails if the page is not what the tables say.
"""

import argparse
import inspect
import sys
from pathlib import Path

from placet_contract.vocabulary import FINAL_STATUSES, Status
from placet_coordinator.api.answers import of_error
from placet_coordinator.core.events import (
    EVENTS,
    AbortAsked,
    Adopted,
    Answered,
    BeginAsked,
    CommitAsked,
    Event,
    RegisterAsked,
    RetryAsked,
    TimePassed,
)
from placet_coordinator.core.moves import Illegal, Legal, Move, PatternRules, Refusal
from placet_coordinator.core.patterns import PATTERNS
from placet_coordinator.engine.errors import Refused, Standing

PAGE = Path(__file__).resolve().parent / "reference" / "patterns.md"
COMMAND = ".venv/bin/python docs/patterns.py"

NAMES: dict[type[Event], str] = {
    BeginAsked: "begin again",
    RegisterAsked: "register",
    CommitAsked: "commit",
    AbortAsked: "abort",
    Answered: "answer",
    TimePassed: "time",
    Adopted: "adoption",
    RetryAsked: "retry",
}

HEAD = f"""<!-- Drawn by docs/patterns.py from the tables in coordinator/placet_coordinator/core/patterns. To change it,
change a table or a docstring there, and run: {COMMAND} -->
# What a transaction may do next

Each pattern is one file in `coordinator/placet_coordinator/core/patterns`, with a table: for every status and every
event it says whether the event is legal, a harmless repeat, or refused. Below are the tables, and the diagrams that
they draw. In a cell, *→* names the statuses that a legal event may lead to, *repeat* means that nothing changes and the
answer is the state as it is, and a figure is the HTTP status of a refusal, with the rule below the table.

| event | what it is |
|---|---|
"""


def page() -> str:
    """Return the whole page."""
    parts = [HEAD, *(f"| {NAMES[event]} | {_first_sentence(event)} |\n" for event in EVENTS)]
    told: set[str] = set()
    for rules in PATTERNS.values():
        parts.append(f"\n## {rules.name}\n\n")
        words = inspect.getdoc(inspect.getmodule(rules.begun)) or ""
        if words not in told:
            parts.append(f"{words}\n\n")
            told.add(words)
        parts.append(f"```mermaid\n{diagram(rules)}```\n\n{moves_table(rules)}\n{rules_table(rules)}")
    return "".join(parts).rstrip() + "\n"


def diagram(rules: PatternRules) -> str:
    """Return the state diagram, in Mermaid: an arrow for each change of status, labelled by what may bring it about."""
    lines = [f"    [*] --> {next(iter(rules.table))}: begin\n"]
    for status, moves in rules.table.items():
        arrows: dict[Status, list[str]] = {}
        for event, move in moves.items():
            for to in move.to if isinstance(move, Legal) else ():
                if to is not status:
                    arrows.setdefault(to, []).append(NAMES[event])
        lines.extend(f"    {status} --> {to}: {', '.join(names)}\n" for to, names in arrows.items())
        if status in FINAL_STATUSES:
            lines.append(f"    {status} --> [*]\n")
    return "stateDiagram-v2\n" + "".join(lines)


def moves_table(rules: PatternRules) -> str:
    """Return the table of moves, the refusals' rules below it."""
    refusals: list[Refusal] = []
    lines = [f"| event | {' | '.join(rules.table)} |\n|---|{'---|' * len(rules.table)}\n"]
    for event in EVENTS:
        cells = " | ".join(_cell(moves[event], refusals) for moves in rules.table.values())
        lines.append(f"| {NAMES[event]} | {cells} |\n")
    notes = [f"{number}. {refusal.rule}\n" for number, refusal in enumerate(refusals, 1)]
    return "".join([*lines, "\n", *notes])


def _cell(move: Move, refusals: list[Refusal]) -> str:
    if isinstance(move, Legal):
        return f"→ {', '.join(move.to)}"
    if isinstance(move, Illegal):
        if move.refusal not in refusals:
            refusals.append(move.refusal)
        answer = of_error(Refused(move.refusal, Standing("", Status.ACTIVE, None)))
        return f"{answer.status if answer else ''} ({refusals.index(move.refusal) + 1})"
    return "repeat"


def rules_table(rules: PatternRules) -> str:
    """Return what each legal move does, in the words of its rule; nothing for a pattern without any."""
    lines: dict[str, list[str]] = {}
    for event in EVENTS:
        for status, moves in rules.table.items():
            move = moves[event]
            if isinstance(move, Legal):
                lines.setdefault(f"{NAMES[event]} | {{}} | {_first_sentence(move.rule)}", []).append(status)
    if not lines:
        return ""
    told = "".join(f"| {line.format(', '.join(statuses))} |\n" for line, statuses in lines.items())
    return f"| event | in | what it does |\n|---|---|---|\n{told}"


def _first_sentence(described: object) -> str:
    """Return the first paragraph of a docstring, in one line."""
    words = inspect.getdoc(described)
    if not words:
        raise SystemExit(f"{described} needs a docstring: the page of patterns quotes it")
    return " ".join(words.split("\n\n")[0].split())


def main(arguments: list[str], path: Path = PAGE) -> str:
    """Write or check the page; return what there is to say about it.

    Raises:
        SystemExit: it was to be checked, and is stale.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="fail if the page is stale, and write nothing")
    drawn = page()
    if not parser.parse_args(arguments).check:
        path.write_text(drawn)
        return f"{path.name} is written"
    if not path.exists() or path.read_text() != drawn:
        raise SystemExit(f"{path.name} is not what the tables of the patterns say; run: {COMMAND}")
    return f"{path.name} is what the tables of the patterns say"


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1:])}\n")
