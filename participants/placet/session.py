"""The user's own sessions, of either kind: in handlers, after their transaction, and outside of requests."""

import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeVar

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar
from fastapi import Depends, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import get_dependant
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from placet.tables import barrier

T = TypeVar("T")

AnySession = Session | AsyncSession
Dependency = Callable[..., Any]
_Scope = Literal["function", "request"] | None

_OK = 200

ENTERING_THREADS_MAX = 40
"""Threads that wait for a connection of a synchronous engine, or for another call's barrier row."""

_entering: RunVar[CapacityLimiter] = RunVar("placet_entering_threads")


async def on_session(session: AnySession, work: Callable[[Session], T], *, has_connection: bool = False) -> T:
    """Runs synchronous work on a session of either kind, never in the event loop's own time.

    Threads for it are not those of the application's `def` endpoints: a session with a connection could wait for one
    of them, and they for its connection.

    Args:
        session: where the work is done.
        work: what is done.
        has_connection: it is under way already; its thread is one more then, and connections are limited.
    """
    if isinstance(session, AsyncSession):
        return await session.run_sync(work)
    return await to_thread.run_sync(work, session, limiter=CapacityLimiter(1) if has_connection else _entrance())


def _entrance() -> CapacityLimiter:
    try:
        return _entering.get()
    except LookupError:
        limiter = CapacityLimiter(ENTERING_THREADS_MAX)
        _entering.set(limiter)
        return limiter


async def in_thread(handler: Callable[..., T], values: dict[str, Any]) -> T:
    """Runs a `def` handler, whose session has its connection already."""
    return await to_thread.run_sync(lambda: handler(**values), limiter=CapacityLimiter(1))


def connection_of(session: Session) -> Connection:
    """Returns the connection of the session's own transaction in the barrier's database."""
    return session.connection(bind_arguments={"clause": barrier})


@contextmanager
def beside(session: Session) -> Iterator[Connection]:
    """Runs its block in a transaction of its own, in the database of a session that has none open.

    The session itself won't do: inside `sessionmaker.begin()` it refuses SQL after its transaction has ended.
    """
    bind = session.get_bind(clause=barrier)
    if isinstance(bind, Connection):  # inside an outer transaction, such as a test's: there is no other connection
        yield connection_of(session)
        session.commit()
    else:
        with bind.begin() as connection:
            yield connection


def checked_session(session: Any) -> AnySession:
    """Returns the session that the user's dependency gave.

    Raises:
        TypeError: it is something else.
    """
    if not isinstance(session, AnySession):
        kind = type(session).__name__
        raise TypeError(f"Participant(session=…) gives a {kind}: it must give an SQLAlchemy Session or AsyncSession")
    return session


def same_session(dependency: Dependency, signature: inspect.Signature) -> Any:
    """Returns the `Depends` that gives the session which a handler of this signature gets from the dependency, too.

    FastAPI resolves a dependency once per request and scope, so the scope has to be the handler's.

    Raises:
        TypeError: the handler takes the session in a way that gives it one of its own.
    """

    def stub() -> None: ...

    stub.__signature__ = signature  # type: ignore[attr-defined]
    uses = list(_uses(get_dependant(path="/", call=stub), dependency))
    if any(not use.use_cache for use in uses):
        raise TypeError("the session is taken with use_cache=False: it would not be the barrier's; leave that out")
    scopes: set[_Scope] = {use.scope for use in uses}
    if len(scopes) > 1:
        raise TypeError("the session is taken with two scopes, which are two sessions: use the same everywhere")
    return Depends(dependency, scope=scopes.pop() if scopes else None)


def _uses(dependant: Dependant, dependency: Dependency) -> list[Dependant]:
    # Equal, not identical, as FastAPI compares them: each look at a bound method makes a new object.
    found = [below for below in dependant.dependencies if below.call == dependency]
    return found + [use for below in dependant.dependencies for use in _uses(below, dependency)]


async def with_session(
    dependency: Dependency, app: FastAPI | None, work: Callable[[AnySession], Awaitable[None]]
) -> None:
    """Runs work on a session of the dependency outside of any request, as a request of its own would get it.

    Args:
        dependency: the user's, with whatever it depends on.
        app: the application whose state and `dependency_overrides` hold.
        work: what to do.

    Raises:
        RuntimeError: the dependency wants something of a real request.
        Exception: whatever the dependency or the work raises.
    """

    async def endpoint(session: Annotated[Any, Depends(dependency)]) -> None:
        await work(checked_session(session))

    inner = FastAPI(openapi_url=None)
    inner.add_api_route("/", endpoint)
    if app is not None:
        inner.state = app.state
        inner.dependency_overrides = app.dependency_overrides
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    scope = {"type": "http", "method": "GET", "path": "/", "root_path": "", "query_string": b"", "headers": []}
    await inner(scope, receive, send)
    if statuses != [_OK]:
        raise RuntimeError(
            f"the session dependency answers {statuses}: it wants more than a request without headers; run "
            "placet.purge.purge(session, client.coordinator, retention) on each of your databases yourself"
        )
