"""A service that takes part in transactions: its actions, its routes, and what runs beside it."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.metadata import version
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, FastAPI

from placet import openapi
from placet.action import SagaAction, TccAction
from placet.announcement import announced
from placet.app_client import running_client
from placet.background import running_task
from placet.barrier_table import BarrierMissing, check
from placet.branch_call import RETENTION_MARGIN
from placet.client import Client
from placet.endpoint import BranchEndpoint
from placet.patience import Patience
from placet.purge import purge, purge_forever
from placet.route import BranchRoute
from placet.session import AnySession, connection_of, on_session, with_session
from placet.settings import Settings
from placet.tcp_service import served_over_tcp
from placet_contract.ids import matches_branch_id
from placet_contract.limits import RETENTION_MS
from placet_contract.services import InstanceRequest
from placet_contract.vocabulary import Operation

P = ParamSpec("P")
R = TypeVar("R")

RETENTION = timedelta(milliseconds=RETENTION_MS)
ABORT_SECONDS_MIN = 1.0
ABORT_SECONDS_MAX = 5.0

_REQUIRED = {Operation.TRY: (Operation.CONFIRM, Operation.CANCEL)}
_MILLISECOND = timedelta(milliseconds=1)
_log = logging.getLogger("placet.participant")


class Participant:
    """A service's actions, and the router and lifespan that serve them.

    Handlers get the session of the user's own dependency, in which the barrier has written its row; Placet commits it
    before the answer is sent. Nothing runs before the lifespan.

    Args:
        name: the service's name: others call `name/action`.
        session: the application's session dependency; it gives a `Session` or an `AsyncSession`.
        prefix: of the routes. The address that is announced is `PLACET_SELF_URL` and this, so a prefix given to
            `include_router` belongs into `PLACET_SELF_URL`.
        retention: how long the barrier remembers; not shorter than the coordinator.
        settings: in place of the environment, which is read in the lifespan.

    Attributes:
        router: for `app.include_router`.

    Raises:
        ValueError: the name or the retention can't be.
    """

    def __init__(
        self,
        name: str,
        *,
        session: Callable[..., Any],
        prefix: str = "/placet",
        retention: timedelta = RETENTION,
        settings: Settings | None = None,
    ) -> None:
        if not matches_branch_id(name):
            raise ValueError(f"name {name!r}: 1 to 64 characters of A-Z a-z 0-9 _ - .")
        if retention <= RETENTION_MARGIN:
            raise ValueError(f"retention={retention}: must be longer than {RETENTION_MARGIN}")
        self.name = name
        self.router = APIRouter(prefix=prefix, tags=[name], route_class=BranchRoute)
        self.session = session
        self.retention = retention
        self._prefix = prefix
        self._settings = settings
        self._actions: dict[str, dict[Operation, BranchEndpoint]] = {}
        self._client: Client | None = None

    def tcc(self, action: str) -> Callable[[Callable[P, R]], TccAction[P, R]]:
        """Declares the try of a TCC action; the decorated name carries `.confirm` and `.cancel`.

        Args:
            action: its name: `POST /placet/{action}/try`.

        Raises:
            ValueError: the name can't be, or is taken.
        """

        def declare(handler: Callable[P, R]) -> TccAction[P, R]:
            self._declare(action, Operation.TRY, handler)
            return TccAction(action, handler, lambda operation, more: self._register(action, operation, more))

        return declare

    def saga(self, action: str) -> Callable[[Callable[P, R]], SagaAction[P, R]]:
        """Declares a saga's action; the decorated name carries `.compensate`, for an action that leaves something.

        Args:
            action: its name: `POST /placet/{action}/action`.

        Raises:
            ValueError: the name can't be, or is taken.
        """

        def declare(handler: Callable[P, R]) -> SagaAction[P, R]:
            self._declare(action, Operation.ACTION, handler)
            # Until `compensate` is declared there is nothing to undo, but a late action is kept out all the same.
            self._register(action, Operation.COMPENSATE, _leave_as_it_is)
            return SagaAction(action, handler, lambda operation, more: self._register(action, operation, more))

        return declare

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """The application's lifespan; in one of your own, write `async with participant.running(app):`."""
        async with self.running(app):
            yield

    @asynccontextmanager
    async def running(self, app: FastAPI | None = None) -> AsyncIterator[None]:
        """Announces the service while the block runs.

        Args:
            app: the application; its endpoints' `Placet` parameters get this participant's client, and its routes are
                served over the RPC's TCP transport, too.

        Raises:
            RuntimeError: a TCC action has no confirm or no cancel.
            BarrierMissing: the database has no barrier table.
            CoordinatorRefused: the coordinator will not have it announced.
        """
        self._check_complete()
        await self._check_table(app)
        settings = self._settings or Settings()
        async with AsyncExitStack() as stack:
            self._client = client = await stack.enter_async_context(running_client(app, settings))
            if settings.self_url is None:
                _log.warning("%s is not announced: PLACET_SELF_URL does not say where others reach it", self.name)
            else:
                tcp_url = await stack.enter_async_context(served_over_tcp(app, settings))
                instance = self._instance(settings.self_url, tcp_url)
                await stack.enter_async_context(announced(client.coordinator, self.name, instance))
            await stack.enter_async_context(running_task(purge_forever(lambda: self._purge(app, client))))
            try:
                yield
            finally:
                self._client = None

    async def abort(self, gid: str, seconds: float) -> None:
        """Aborts a transaction that a handler of ours has doomed; raises as `Coordinator.abort`."""
        seconds = min(max(seconds, ABORT_SECONDS_MIN), ABORT_SECONDS_MAX)
        reason = f"a call made inside a try of {self.name} failed"
        async with AsyncExitStack() as stack:
            client = self._client
            if client is None:  # no lifespan runs, as in a test
                client = await stack.enter_async_context(Client(settings=self._settings))
            coordinator = client.coordinator
            await Patience(seconds).until_answered(
                lambda timeout: coordinator.abort(gid, reason_text=reason, timeout=timeout)
            )

    @property
    def late_after_ms(self) -> int:
        """The age of a transaction at which a try or action is refused, for its row may be forgotten."""
        return (self.retention - RETENTION_MARGIN) // _MILLISECOND

    def _declare(self, action: str, operation: Operation, handler: Callable[..., Any]) -> None:
        if not matches_branch_id(action):
            raise ValueError(f"action {action!r}: 1 to 64 characters of A-Z a-z 0-9 _ - .")
        if action in self._actions:
            raise ValueError(f"{self.name} has an action {action!r} already")
        self._register(action, operation, handler)

    def _register(self, action: str, operation: Operation, handler: Callable[..., Any]) -> None:
        endpoint = BranchEndpoint(handler, operation, self)
        operations = self._actions.setdefault(action, {})
        if operation in operations and operations[operation].handler is _leave_as_it_is:
            self._take_back(operations.pop(operation))
        if operation in operations:
            raise ValueError(f"action {action!r} of {self.name} has a {operation} already")
        operations[operation] = endpoint
        self.router.add_api_route(
            f"/{action}/{operation}",
            endpoint,
            methods=["POST"],
            name=f"{action}_{operation}",
            response_model=endpoint.response_model,
            description=endpoint.__doc__ or "",
            responses=openapi.responses(operation),
            openapi_extra=openapi.parameters(),
        )

    def _take_back(self, endpoint: BranchEndpoint) -> None:
        routes = self.router.routes
        routes.remove(next(route for route in routes if getattr(route, "endpoint", None) is endpoint))

    def _check_complete(self) -> None:
        for action, operations in self._actions.items():
            for operation in operations:
                missing = [other for other in _REQUIRED.get(operation, ()) if other not in operations]
                if missing:
                    raise RuntimeError(
                        f"TCC action {action!r} of {self.name} has no {' and no '.join(missing)}: add @….{missing[0]}"
                    )

    async def _check_table(self, app: FastAPI | None) -> None:
        async def look(session: AnySession) -> None:
            await on_session(session, lambda session: check(connection_of(session)))

        try:
            await with_session(self.session, app, look)
        except BarrierMissing:
            raise
        except Exception as error:  # noqa: BLE001 - a database that is down now is no reason not to start
            _log.warning("%s: the barrier's table could not be looked at: %s", self.name, error)

    async def _purge(self, app: FastAPI | None, client: Client) -> None:
        async def run(session: AnySession) -> None:
            await purge(session, client.coordinator, self.retention)

        await with_session(self.session, app, run)

    def _instance(self, self_url: str, tcp_url: str | None) -> InstanceRequest:
        return InstanceRequest(
            base_url=self_url.rstrip("/") + self._prefix,
            actions={action: list(operations) for action, operations in self._actions.items()},
            sdk=f"placet-python/{version('placet')}",
            barrier_retention_ms=self.retention // _MILLISECOND,
            tcp_url=tcp_url,
        )


def _leave_as_it_is() -> None:
    """Nothing to undo."""
