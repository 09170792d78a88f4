"""`placet db`: the coordinator's schema: bring it up to date, check it, print it."""

import sys
from typing import Annotated

import typer

from placet_coordinator.cli.remote import fail

database = typer.Typer(help="The coordinator's schema.", no_args_is_help=True)

UrlOption = Annotated[str | None, typer.Option("--url", help="The database. [PLACET_DATABASE_URL]")]


@database.command()
def upgrade(*, url: UrlOption = None) -> None:
    """Bring the database up to this build's schema. May be repeated, also by several at once."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - loads SQLAlchemy

    import placet_migrations  # noqa: PLC0415 - loads Alembic

    target = _url(url)
    try:
        before = placet_migrations.current(target)
        placet_migrations.upgrade(target)
    except (placet_migrations.UpgradeBusy, ValueError) as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"the database refused: {error.__cause__ or error}")
    head = placet_migrations.head()
    shown = placet_migrations.redacted(target)
    done = "already at" if before == head else f"from {before or 'nothing'} to"
    typer.echo(f"{shown}: {done} revision {head}")


@database.command()
def check(*, url: UrlOption = None) -> None:
    """Say whether the schema is the one that this build needs; exit code 1 if not."""
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415 - loads SQLAlchemy

    import placet_migrations  # noqa: PLC0415 - loads Alembic
    from placet_coordinator.ports.store import SchemaProblem  # noqa: PLC0415 - loads msgspec
    from placet_coordinator.store.schema import check_revision  # noqa: PLC0415 - loads Alembic

    target = _url(url)
    try:
        check_revision(placet_migrations.current(target), target)
    except (SchemaProblem, ValueError) as error:
        fail(str(error))
    except SQLAlchemyError as error:
        fail(f"the database can't be read: {error.__cause__ or error}")
    typer.echo(f"{placet_migrations.redacted(target)}: revision {placet_migrations.head()}, as this build needs it")


@database.command("sql")
def print_sql(backend: Annotated[str, typer.Argument(help="postgresql, mysql, mariadb or sqlite.")]) -> None:
    """Print the statements that make the whole schema, for a database administrator to run."""
    import placet_migrations  # noqa: PLC0415 - loads Alembic

    try:
        sys.stdout.write(placet_migrations.sql(backend))
    except ValueError as error:
        fail(str(error), code=2)


def _url(given: str | None) -> str:
    from placet_coordinator.config import SettingsRefused, load_settings  # noqa: PLC0415 - loads pydantic

    if given is not None:
        return given
    try:
        return load_settings().database_url.get_secret_value()
    except SettingsRefused as refused:
        fail(str(refused))
