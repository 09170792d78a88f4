"""`placet tx`: list, show, watch and retry transactions of a running coordinator."""

import time
from enum import StrEnum
from typing import Annotated, Any

import typer

from placet_coordinator.cli import shown
from placet_coordinator.cli.remote import Remote, fail

WATCH_INTERVAL_S = 0.5
FINAL = frozenset({"committed", "aborted"})
ATTENTION_EXIT = 3
"""The exit code that says: it needs a human."""

transactions = typer.Typer(help="Look at transactions, and hurry them.", no_args_is_help=True)

Gid = Annotated[str, typer.Argument(help="The global transaction's id.")]


class Output(StrEnum):
    """How a command prints."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


OutputOption = Annotated[Output, typer.Option("--output", "-o", help="table for people, json or jsonl for programs.")]


@transactions.command("list")
def list_transactions(
    *,
    status: Annotated[str | None, typer.Option(help="active, committing, committed, aborting or aborted.")] = None,
    pattern: Annotated[str | None, typer.Option(help="tcc or saga.")] = None,
    name: Annotated[str | None, typer.Option(help="As begun.")] = None,
    key: Annotated[str | None, typer.Option(help="The business key.")] = None,
    parent: Annotated[str | None, typer.Option(help="gid/branch_id that it was begun in.")] = None,
    attention: Annotated[bool | None, typer.Option(help="Those that need a human; or those that don't.")] = None,
    older_than: Annotated[str | None, typer.Option(help="Created at least so long ago: 30s, 10m, 2h.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Go on after an earlier page.")] = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """List transactions, newest first."""
    with Remote() as remote:
        page = remote.get(
            "/v1/transactions",
            status=status,
            pattern=pattern,
            name=name,
            key=key,
            parent=parent,
            attention=None if attention is None else str(attention).lower(),
            older_than_ms=None if older_than is None else _milliseconds(older_than),
            limit=limit,
            cursor=cursor,
        )
    if output is Output.JSON:
        shown.as_json(page)
    elif output is Output.JSONL:
        shown.as_lines(page["items"])
    else:
        shown.transaction_table(page["items"])
        if page["next_cursor"]:
            typer.echo(f"more: placet tx list --cursor {page['next_cursor']}", err=True)


@transactions.command("show")
def show_transaction(gid: Gid, *, output: OutputOption = Output.TABLE) -> None:
    """Show one transaction: branches, attempts, what comes next. Exit code 3 if it needs a human."""
    with Remote() as remote:
        view = remote.get(f"/v1/transactions/{gid}")
    _print_view(view, output)
    if view["attention"]:
        raise typer.Exit(ATTENTION_EXIT)


@transactions.command("watch")
def watch_transaction(
    gid: Gid, *, timeout: Annotated[str | None, typer.Option(help="Give up after: 30s, 10m.")] = None
) -> None:
    """Follow one transaction until it is finished; prints each new line of its story."""
    give_up_at = None if timeout is None else time.monotonic() + _milliseconds(timeout) / 1_000
    told: list[str] = []
    with Remote() as remote:
        while True:
            view = remote.get(f"/v1/transactions/{gid}")
            lines = shown.story_lines(view)
            for line in lines:
                if line not in told:
                    typer.echo(line)
            told = lines
            if view["status"] in FINAL:
                return
            if give_up_at is not None and time.monotonic() >= give_up_at:
                fail(f"{gid} is still {view['status']}; look again with: placet tx show {gid}")
            time.sleep(WATCH_INTERVAL_S)


@transactions.command("retry")
def retry_transaction(gid: Gid) -> None:
    """Make the waiting calls of an open transaction now; decides nothing."""
    with Remote() as remote:
        told = remote.post(f"/v1/transactions/{gid}/retry")
    typer.echo(f"{gid} is {told['status']}: its waiting calls are made now. Follow it: placet tx watch {gid}")


def _print_view(view: dict[str, Any], output: Output) -> None:
    if output is Output.TABLE:
        shown.transaction(view)
    elif output is Output.JSONL:
        shown.as_lines([view])
    else:
        shown.as_json(view)


def _milliseconds(text: str) -> int:
    from placet_coordinator.config import parse_time  # noqa: PLC0415 - loads pydantic

    try:
        return round(parse_time(text).total_seconds() * 1_000)
    except ValueError as error:
        fail(str(error), code=2)
