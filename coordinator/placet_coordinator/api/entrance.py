"""The ASGI application as a server sees it: the fast lane in front, FastAPI behind, one way to read a body."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from placet_coordinator.api.answers import Answer, Fields, TooLarge, of_error
from placet_coordinator.api.body import ClientGone, read_body
from placet_coordinator.api.health import Health
from placet_coordinator.api.lane import TRANSACTIONS, FastLane, HotCall

if TYPE_CHECKING:
    from placet_rpc.http.hot_request import HotHandler, HotRequest

_HOT_PREFIX = TRANSACTIONS.encode()


class Entrance:
    """The application: `Entrance(scope, receive, send)`.

    Attributes:
        lane: for a server that can call it without ASGI; see `HotLane`.
        health: readiness; its `draining` is set when the server is asked to stop.
        fastapi: the application behind the lane, for whoever reads its OpenAPI.
    """

    def __init__(self, lane: FastLane, fastapi: FastAPI, health: Health) -> None:
        self.lane, self.health, self.fastapi = lane, health, fastapi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (or a lifespan event, which FastAPI takes)."""
        is_http = scope["type"] == "http"
        call = self.lane.find(scope["method"], scope["path"], scope["query_string"]) if is_http else None
        if call is None:
            await self.fastapi(scope, receive, send)
            return
        try:
            body = await read_body(scope["headers"], receive)
        except ClientGone:
            return
        except TooLarge as error:
            answer = of_error(error)
        else:
            answer = await call.answer(scope["headers"], body)
        assert answer is not None  # noqa: S101 - TooLarge always has an answer
        await send_answer(answer, send)


async def send_answer(answer: Answer, send: Send) -> None:
    """Send an answer by ASGI."""
    length = (b"content-length", b"%d" % len(answer.body))
    await send({"type": "http.response.start", "status": answer.status, "headers": [*answer.fields, length]})
    await send({"type": "http.response.body", "body": answer.body})


class HotLane:
    """The same lane inside uvicorn's own connection (`placet_rpc.http.fast_lane`): no ASGI task, half the CPU.

    Calls that arrive in one turn of the event loop are stepped at its end, one after the other: between two reads from
    the kernel the engine's code and data would have to be brought into the processor's caches for each of them anew.
    """

    def __init__(self, lane: FastLane) -> None:
        self._lane = lane
        self._blocks: dict[Fields, bytes] = {}
        self._arrived: list[tuple[HotCall, HotRequest]] = []

    def routes(self, method: bytes, target: bytes) -> "HotHandler | None":
        """Return the handler of a hot call, None for any other request."""
        if method != b"POST" or not target.startswith(_HOT_PREFIX) or b"%" in target:
            return None
        path, _, query = target.partition(b"?")
        call = self._lane.find("POST", path.decode("latin-1"), query)
        return None if call is None else partial(self._start, call)

    def _start(self, call: HotCall, request: "HotRequest") -> None:
        if not self._arrived:
            asyncio.get_running_loop().call_soon(self._start_all)
        self._arrived.append((call, request))

    def _start_all(self) -> None:
        arrived, self._arrived = self._arrived, []
        for call, request in arrived:
            call.start(request.headers, request.body, partial(self._respond, request))

    def _respond(self, request: "HotRequest", answer: Answer) -> None:
        fields = self._blocks.get(answer.fields)
        if fields is None:
            fields = b"".join([b"%b: %b\r\n" % field for field in answer.fields])
            if len(self._blocks) < _BLOCKS_MAX:
                self._blocks[answer.fields] = fields
        request.respond(answer.status, answer.body, fields)


_BLOCKS_MAX = 16
