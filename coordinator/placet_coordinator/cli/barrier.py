"""`placet barrier`: the SDK's table in a participant's own database.

The coordinator and the SDK never import each other; these commands only share a command line, so the SDK's module is
found by its name when one of them is called.
"""

from importlib import import_module
from typing import Annotated, Any

import typer

from placet_coordinator.cli.remote import fail

barrier = typer.Typer(help="The SDK's barrier table in a participant's own database.", no_args_is_help=True)

UrlOption = Annotated[
    str, typer.Option("--url", help="The participant's database: postgresql://…, mysql://…, sqlite:///…")
]


@barrier.command("sql")
def print_sql(*, url: UrlOption) -> None:
    """Print the statements that `create` would run."""
    typer.echo(_call("sql", url))


@barrier.command()
def create(*, url: UrlOption) -> None:
    """Create the table if it is missing. May be repeated."""
    typer.echo(_call("create", url))


def _call(name: str, url: str) -> Any:
    try:
        return getattr(import_module("placet.barrier_commands"), name)(url)
    except ValueError as error:
        fail(str(error))
