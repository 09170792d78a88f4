"""The route of one operation: the call is read before anything runs, and what was raised becomes an answer."""

from collections.abc import Callable, Coroutine
from typing import Any, cast

from fastapi import Request, Response
from fastapi.routing import APIRoute

from placet.answer import Answered
from placet.branch_call import read_call
from placet.branch_work import BranchWork
from placet.endpoint import CALL_KEY, WORK_KEY, BranchEndpoint


class BranchRoute(APIRoute):
    """A route whose endpoint is a `BranchEndpoint`.

    The endpoint commits before it returns. The usual `yield` dependency would commit after the response has left, and
    the participant would have said "done" of what may still fail.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Surrounds FastAPI's handler."""
        inner = super().get_route_handler()
        operation = cast("BranchEndpoint", self.endpoint).operation

        async def handle(request: Request) -> Response:
            scope = request.scope
            try:
                scope[CALL_KEY] = read_call(scope["headers"], operation)
                return await inner(request)
            except Answered as answered:
                return answered.response
            except Exception as error:
                work: BranchWork | None = scope.get(WORK_KEY)
                if work is None:
                    raise
                return await work.fail(error)
            except BaseException:  # cancelled: by the server's shutdown, or a middleware when the caller has left
                if WORK_KEY in scope:
                    scope[WORK_KEY].abandon()
                raise

        return handle
