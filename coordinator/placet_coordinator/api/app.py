"""The coordinator's HTTP application, put together from its parts."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException

from placet_contract import problems
from placet_contract.problems import problem
from placet_coordinator.api.access import Access
from placet_coordinator.api.answers import of_defect, of_problem
from placet_coordinator.api.calls import ApiCall, mount, response_of
from placet_coordinator.api.entrance import Entrance
from placet_coordinator.api.health import Health
from placet_coordinator.api.lane import FastLane
from placet_coordinator.api.nodes import NodeNames, Nodes
from placet_coordinator.api.openapi import describe, schemas_of
from placet_coordinator.api.services import Services
from placet_coordinator.api.transactions import TransactionReads, hot_calls
from placet_coordinator.dispatch.policy import TargetPolicy
from placet_coordinator.engine.commands import Commands
from placet_coordinator.observability.metrics import Metrics, build_version
from placet_coordinator.ports.clock import Clock
from placet_coordinator.ports.owner import Owner
from placet_coordinator.ports.store import Store

_ABOUT = """Begins global transactions, decides them durably, and drives their branches to the end.
Every 2xx of begin, register, commit and abort reports a durable state; every call may be repeated.
Errors are RFC 9457 problems with a stable `type`."""


def create_app(
    *,
    commands: Commands,
    store: Store,
    owner: Owner,
    clock: Clock,
    policy: TargetPolicy,
    metrics: Metrics,
    retention: timedelta,
    services_changed: Callable[[], None],
    tokens: Sequence[str] = (),
) -> Entrance:
    """Return the application; serving it is `placet_coordinator.cli`'s business.

    Args:
        commands: the engine.
        store: read directly; the engine is not bypassed by any write but those of services.
        owner: this node.
        clock: the database's clock.
        policy: which hosts an announced instance may have.
        metrics: what `/metrics` shows.
        retention: how long this coordinator remembers.
        services_changed: called when an instance was announced or withdrawn here.
        tokens: bearer tokens that open the API; none: whoever reaches the port may call.
    """
    access = Access(tuple(token.encode() for token in tokens))
    lane = FastLane(commands, access)
    health = Health(store=store, owner=owner, metrics=metrics)
    names = NodeNames(store, owner)
    calls = (
        *hot_calls(lane),
        *TransactionReads(store=store, commands=commands, clock=clock, names=names).calls(),
        *Services(store=store, clock=clock, policy=policy, retention=retention, changed=services_changed).calls(),
        *Nodes(store, clock).calls(),
        *health.calls(),
    )
    return Entrance(lane, _fastapi(calls, access), health)


def _fastapi(calls: Sequence[ApiCall], access: Access) -> FastAPI:
    app = FastAPI(
        title="Placet",
        version=build_version(),
        description=_ABOUT,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={HTTPException: _http_problem, Exception: _defect},
    )
    for call in calls:
        mount(app, call, access, describe(call))

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(title=app.title, version=app.version, description=_ABOUT, routes=app.routes)
            components = schema.setdefault("components", {})
            components["schemas"] = schemas_of(calls)
            components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer"}}
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the schema
    return app


async def _http_problem(request: Request, error: Exception) -> Response:
    """Turn what the router refuses into a problem."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type alone
    status, path = error.status_code, request.url.path
    if status == 404:  # noqa: PLR2004
        told = problem(problems.NOT_FOUND, "No such path", 404, detail=f"{path} is no call; GET /docs lists them")
    elif status == 405:  # noqa: PLR2004
        allowed = (error.headers or {}).get("Allow", "")
        told = problem(
            problems.METHOD_NOT_ALLOWED,
            "The path takes another method",
            405,
            detail=f"{path} takes {allowed}; GET /docs lists the calls",
        )
    else:
        told = problem(problems.INTERNAL, str(error.detail), status)
    more = [(name.lower().encode(), value.encode()) for name, value in (error.headers or {}).items()]
    return response_of(of_problem(told, *more))


async def _defect(_request: Request, _error: Exception) -> Response:
    return response_of(of_defect())
