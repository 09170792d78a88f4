"""One declared call of the API: what it takes, what it answers, which problems it may meet.

The declaration is read twice, by the router and by OpenAPI, so that neither can drift from the other.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from fastapi import FastAPI, Request, Response

from placet_coordinator.api.access import Access
from placet_coordinator.api.answers import Answer, of_defect, of_error
from placet_coordinator.api.body import ClientGone, read_body
from placet_coordinator.api.requests import BodyDecoder

_log = structlog.get_logger("placet.api")

Endpoint = Callable[[Request], Awaitable[Answer]]


class Reply(NamedTuple):
    """One answer that is no problem."""

    status: int
    description: str
    kind: type[Any] | None = None
    example: Any = None
    media_type: str = "application/json"


@dataclass(frozen=True)
class ApiCall:
    """One call.

    Attributes:
        name: the OpenAPI operation id.
        problems: statuses of the problems it may answer, besides 401, 403 and 500, which all may.
        is_open: answered without a token.
    """

    method: str
    path: str
    name: str
    summary: str
    endpoint: Endpoint
    replies: tuple[Reply, ...]
    problems: tuple[int, ...] = ()
    query: type[Any] | None = None
    body: BodyDecoder | None = None
    body_example: Any = None
    description: str = ""
    tag: str = "transactions"
    is_open: bool = False


def mount(app: FastAPI, call: ApiCall, access: Access, openapi: dict[str, Any]) -> None:
    """Add a call to the application."""
    app.add_api_route(
        call.path,
        _guarded(call, access),
        methods=[call.method],
        name=call.name,
        operation_id=call.name,
        summary=call.summary,
        description=call.description,
        tags=[call.tag],
        status_code=call.replies[0].status,
        response_class=Response,
        response_model=None,
        openapi_extra=openapi,
    )


def _guarded(call: ApiCall, access: Access) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            if not call.is_open:
                access.admit(request.headers.raw)
            answer = await call.endpoint(request)
        except ClientGone:
            return Response(status_code=400)  # which nobody reads
        except Exception as error:  # noqa: BLE001 - the edge turns whatever is left into a problem
            answer = of_error(error) or _defect(call)
        return response_of(answer)

    return endpoint


def _defect(call: ApiCall) -> Answer:
    _log.exception("a call failed", call=call.name)
    return of_defect()


def response_of(answer: Answer) -> Response:
    """Return an answer as Starlette sends it."""
    response = Response(answer.body, answer.status)
    response.raw_headers.extend(answer.fields)
    return response


async def body_of(request: Request) -> bytes:
    """Return a request's body; raises `TooLarge`."""
    return await read_body(request.headers.raw, request.receive)
