"""Services mounted in a FastAPI application: documented like its own routes, and answered by the server's codec."""

from typing import Protocol

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from conformance.rpc_transport.messages import Quote
from placet_contract.service import service
from placet_rpc.fastapi_router import service_router
from placet_rpc.server import Server


class Label(BaseModel):
    """A model of the user's."""

    text: str
    size: int = 1


@service("labels", version="2")
class Labels(Protocol):
    """What is mounted."""

    async def print(self, label: Label, copies: int = 1) -> list[Label]: ...

    async def price(self, quote: Quote) -> Quote | None: ...


class LabelsHere:
    """An implementation; one method plain, so that it runs in a thread."""

    def print(self, label: Label, copies: int = 1) -> list[Label]:
        return [label] * copies

    async def price(self, quote: Quote) -> Quote | None:
        return quote if quote.price else None


@pytest.fixture
def app():
    """An application with a route of its own and a service."""
    server = Server()
    server.expose(Labels)(LabelsHere())
    app = FastAPI()
    app.include_router(service_router(server), prefix="/rpc")

    @app.get("/own")
    def own() -> int:
        return 1

    return app


def test_the_document_has_every_method_with_its_types(app):
    """Parameters, results and failures stand there as schemas, and no reference leads nowhere."""
    document = app.openapi()
    assert set(document["paths"]) == {"/own", "/rpc/labels/2/print", "/rpc/labels/2/price"}
    post = document["paths"]["/rpc/labels/2/print"]["post"]
    arguments = post["requestBody"]["content"]["application/json"]["schema"]
    assert arguments["required"] == ["label"]
    assert arguments["properties"]["copies"] == {"type": "integer", "default": 1}
    assert arguments["properties"]["label"]["properties"]["text"]["type"] == "string"
    result = post["responses"]["200"]["content"]["application/json"]["schema"]
    assert (result["type"], result["items"]["title"]) == ("array", "Label")
    assert {"409", "422", "429", "500"} <= set(post["responses"])
    assert "$ref" not in str(post)
    price = document["paths"]["/rpc/labels/2/price"]["post"]
    quote = price["requestBody"]["content"]["application/json"]["schema"]["properties"]["quote"]
    assert quote["title"] == "placet_tests.Quote"


async def test_anybody_may_call_it_as_the_document_says(app):
    """A plain HTTP client: JSON in, JSON out, a method of another version told apart from a wrong URL."""
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://here") as http:
        printed = await http.post("/rpc/labels/2/print", json={"label": {"text": "A"}, "copies": 2})
        assert (printed.status_code, printed.json()) == (200, [{"text": "A", "size": 1}] * 2)
        priced = await http.post("/rpc/labels/2/price", json={"quote": {"sku": "A1", "price": 2.5, "newer": 1}})
        assert priced.json() == {"sku": "A1", "price": 2.5}
        wrong = await http.post("/rpc/labels/2/print", json={"label": {"text": "A"}, "colour": "red"})
        assert (wrong.status_code, wrong.headers["placet-rpc"]) == (422, "1")
        assert "colour" in wrong.json()["detail"]
        missing = await http.post("/rpc/labels/2/tear", json={})
        assert (missing.status_code, missing.headers["placet-rpc"]) == (404, "1")
