"""The commands of `placet`, each in a module that is imported when it is called: `--help` must not load a server."""

from typing import Annotated

import typer

from placet_coordinator.cli.barrier import barrier
from placet_coordinator.cli.database import database
from placet_coordinator.cli.rpc import rpc
from placet_coordinator.cli.transactions import transactions

application = typer.Typer(
    name="placet",
    help="All happen, or none happen: a distributed-transaction coordinator for Python services.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
)
application.add_typer(transactions, name="tx")
application.add_typer(database, name="db")
application.add_typer(barrier, name="barrier")
application.add_typer(rpc, name="rpc")


@application.callback(invoke_without_command=True)
def _options(
    *, version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False
) -> None:
    if version:
        from placet_coordinator.observability.metrics import build_version  # noqa: PLC0415 - loads prometheus

        typer.echo(f"placet {build_version()}")
        raise typer.Exit


@application.command()
def server(
    *,
    host: Annotated[str | None, typer.Option(help="Address to bind. [PLACET_HOST, default 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port; 0 takes a free one. [PLACET_PORT, default 8470]")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="Where the state is kept. [PLACET_DATABASE_URL, default sqlite:///./placet.db]")
    ] = None,
    migrate: Annotated[bool, typer.Option("--migrate", help="Bring an older schema up to date first.")] = False,
) -> None:
    """Run the coordinator. An empty database gets its schema; Ctrl-C or SIGTERM drains and stops it."""
    from placet_coordinator.cli.server import serve  # noqa: PLC0415 - the whole server

    raise typer.Exit(serve(host=host, port=port, database_url=database_url, migrate=migrate))


@application.command()
def demo(
    *, keep: Annotated[bool, typer.Option("--keep", help="Leave the services running until Ctrl-C.")] = False
) -> None:
    """See TCC, saga and recovery run, each service a process of its own, and every balance checked."""
    from placet_coordinator.demo.show import run_demo  # noqa: PLC0415 - only here

    raise typer.Exit(run_demo(keep=keep))


@application.command()
def doctor(
    *, database_url: Annotated[str | None, typer.Option(help="In place of PLACET_DATABASE_URL.")] = None
) -> None:
    """Look at settings, database, schema and a running server, and say what to do."""
    from placet_coordinator.cli.doctor import examine  # noqa: PLC0415 - loads stores

    raise typer.Exit(examine(database_url=database_url))
