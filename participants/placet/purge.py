"""Barrier rows are forgotten in pages: past the retention, and once the coordinator says that nobody will ask again."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import NamedTuple, Protocol

from sqlalchemy import delete, select, tuple_
from sqlalchemy.orm import Session

from placet.errors import CoordinatorError
from placet.session import AnySession, beside, on_session
from placet.tables import barrier
from placet_contract.limits import FINISHED_GIDS_MAX
from placet_contract.transactions import FinishedReply

PAGE_ROWS = FINISHED_GIDS_MAX
PAUSE_SECONDS = 0.05
"""Between pages: 20,000 rows a second at most, so that the service's own work finds its turn."""

EVERY_SECONDS = 600.0

_columns = barrier.c
_log = logging.getLogger("placet.purge")


class Finished(Protocol):
    """Says which transactions have ended; satisfied by `Coordinator`."""

    async def finished(self, gids: Sequence[str]) -> FinishedReply:
        """Returns those that have ended, and those that the coordinator does not know."""
        ...


class _Place(NamedTuple):
    """Where a page ends: rows are read in this order."""

    created_at_ms: int
    gid: str
    branch_id: str


async def purge(session: AnySession, coordinator: Finished, retention: timedelta) -> int:
    """Deletes the rows that nobody can ask for any more, in pages with a commit each, and returns how many.

    A row goes when it is past the retention and its transaction is finished, or unknown to the coordinator, whose
    retention is not longer. What repeats after that was begun too long ago, and is refused by its age.

    Args:
        session: of the participant's database; nothing else is under way in it.
        coordinator: asked page by page.
        retention: how long rows are kept in any case.

    Raises:
        CoordinatorError: it does not answer; pages deleted before stay deleted.
        DBAPIError: the same, of the database.
    """
    before_ms = time.time_ns() // 1_000_000 - retention // timedelta(milliseconds=1)
    place = _Place(-1, "", "")
    deleted = 0
    while rows := await on_session(session, _reading(place, before_ms)):  # ends: what is old enough is a finite number
        place = rows[-1]
        reply = await coordinator.finished(sorted({row.gid for row in rows}))
        over = [*reply.finished, *reply.unknown]
        if over:
            deleted += await on_session(session, _deleting(over, before_ms))
        await asyncio.sleep(PAUSE_SECONDS)
    _log.debug("%d barrier rows purged", deleted)
    return deleted


async def purge_forever(run: Callable[[], Awaitable[None]]) -> None:
    """Runs the purge every ten minutes or so, spread over instances; after a failure it waits for the next turn."""
    while True:
        spread = 0.5 + random.random()  # noqa: S311 - jitter is no secret
        await asyncio.sleep(EVERY_SECONDS * spread)
        try:
            await run()
        except CoordinatorError as error:
            _log.info("barrier rows are kept until the coordinator answers: %s", error)
        except Exception:  # noqa: BLE001 - the rows stay until the next turn, and nobody waits for them
            _log.warning("barrier rows could not be purged", exc_info=True)


def _reading(place: _Place, before_ms: int) -> Callable[[Session], list[_Place]]:
    order = (_columns.created_at_ms, _columns.gid, _columns.branch_id)
    statement = (
        select(*order)
        # The second condition says no more than the first, but MariaDB and MySQL find their place in the index by it.
        .where(tuple_(*order) > tuple_(*place), _columns.created_at_ms.between(place.created_at_ms, before_ms - 1))
        .order_by(*order)
        .limit(PAGE_ROWS)
    )

    def read(session: Session) -> list[_Place]:
        with beside(session) as connection:
            return [_Place(*row) for row in connection.execute(statement)]

    return read


def _deleting(gids: list[str], before_ms: int) -> Callable[[Session], int]:
    statement = delete(barrier).where(_columns.gid.in_(gids), _columns.created_at_ms < before_ms)

    def run(session: Session) -> int:
        with beside(session) as connection:
            return connection.execute(statement).rowcount

    return run
