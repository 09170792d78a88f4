"""Exposed services as routes of a FastAPI application, with OpenAPI. The one module that imports FastAPI.

    app.include_router(service_router(server), prefix="/rpc")

A route's body is decoded and its reply encoded by the server's own codec: FastAPI adds the documentation only.
"""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

from placet_rpc.asgi import MARKED_JSON, MAX_BODY_BYTES, HttpAnswer, answer_http, read_bounded, too_large
from placet_rpc.codecs import JSON
from placet_rpc.contract import MethodSpec, ServiceSpec, schema_of
from placet_rpc.outcome import AT_LIMIT, FAULT, FORBIDDEN, RAISED, UNAUTHENTICATED, UNFIT, Raised
from placet_rpc.server import Server

OWN_SERVICES = "placet."
"""What is Placet's own works over HTTP too, and has no place in the application's OpenAPI."""

_FAILURES = {
    UNAUTHENTICATED: "The server wants to know who calls; nothing ran.",
    FORBIDDEN: "Not for this caller; nothing ran.",
    RAISED: "An exception of the contract; `kind` names it.",
    UNFIT: "The arguments don't fit the signature; nothing ran.",
    AT_LIMIT: "At a limit; nothing ran.",
    FAULT: "The method failed.",
}


def service_router(server: Server, *, max_body_bytes: int = MAX_BODY_BYTES) -> APIRouter:
    """Makes a router with one `POST /{service}/{version}/{method}` per method of the services exposed so far."""
    router = APIRouter()
    for service in server.operations.services.values():
        for method in service.methods.values():
            router.add_api_route(
                f"/{service.key}/{method.name}",
                _endpoint(server, service, method, max_body_bytes),
                methods=["POST"],
                tags=[service.key],
                summary=f"{service.options.name}.{method.name}",
                operation_id=f"{service.key}/{method.name}".replace("/", "_"),
                response_class=Response,
                openapi_extra=_described(method),
                include_in_schema=not service.key.startswith(OWN_SERVICES),
            )
        # What a service of another version is asked for must be told apart from a wrong URL: nothing ran.
        missing = _missing(server, service)
        router.add_api_route(f"/{service.key}/{{method}}", missing, methods=["POST"], include_in_schema=False)
    return router


def _missing(server: Server, service: ServiceSpec) -> Callable[[str], Awaitable[Response]]:
    async def missing(method: str) -> Response:
        answer = server.operations.missing(JSON, service.key, method)
        return _response(HttpAnswer(answer.status, MARKED_JSON, answer.body))

    return missing


def _endpoint(
    server: Server, service: ServiceSpec, method: MethodSpec, max_body_bytes: int
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await read_bounded(request.receive, max_body_bytes)
        if body is None:
            return _response(too_large(max_body_bytes))
        fields = request.headers.raw
        return _response(
            await answer_http(server, service.key, method.name, fields=fields, body=body, receive=request.receive)
        )

    return endpoint


def _response(answer: HttpAnswer) -> Response:
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.fields}
    return Response(answer.body, answer.status, fields)


def _described(method: MethodSpec) -> dict[str, Any]:
    def content(schema: dict[str, Any]) -> dict[str, Any]:
        return {"application/json": {"schema": schema}}

    raised = schema_of(Raised)
    responses = {
        str(status): {"description": f"{HTTPStatus(status).phrase}. {text}", "content": content(raised)}
        for status, text in _FAILURES.items()
    }
    responses["200"] = {"description": "The result.", "content": content(schema_of(method.result))}
    return {
        "requestBody": {"required": True, "content": content(schema_of(method.arguments))},
        "responses": responses,
    }
