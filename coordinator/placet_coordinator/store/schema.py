"""Whether a database's schema is the one that this build needs: checked by every adapter when it opens."""

from typing import Final

from placet_coordinator.ports.store import SchemaMissing, SchemaOutdated, SchemaTooNew
from placet_migrations import VERSION_TABLE, redacted, revisions

READ_REVISION: Final = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 - a constant
"""Fails in a database without our schema, for the table is missing; then, and if there is no row, pass on None."""


def check_revision(found: str | None, url: str) -> None:
    """Compare the database's revision with this build's.

    Args:
        found: the revision that the database holds, None if it holds none.
        url: the database's URL, for the message; its password is hidden.

    Raises:
        SchemaMissing: the database holds no schema of ours; the caller may create it.
        SchemaOutdated: it is older than this build.
        SchemaTooNew: this build doesn't know its revision, so a newer one made it.
    """
    known = revisions()
    head = known[-1]
    if found == head:
        return
    command = f"placet db upgrade --url '{redacted(url)}'"
    if found is None:
        raise SchemaMissing(f"the database holds no Placet schema; create it with: {command}")
    if found in known:
        raise SchemaOutdated(
            f"the database's schema is at revision {found}, this build needs {head}; stop older nodes if the release "
            f"notes say so, then run: {command}"
        )
    raise SchemaTooNew(
        f"the database's schema is at revision {found}, which is newer than this build's {head}; "
        "run the release that upgraded it, or a later one"
    )
