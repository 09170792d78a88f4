"""One method and URL of an origin, prepared once and called many times."""

import asyncio

from placet_rpc.http.headers import NO_HEADERS
from placet_rpc.http.pool import HttpPool
from placet_rpc.transport import Completion, Reply

_METHODS_WITHOUT_BODY = frozenset(("DELETE", "GET", "OPTIONS"))


class HttpTarget:
    """One method and URL with its constant header fields; satisfies `placet_rpc.transport.Target`.

    Made by `HttpClient.target`; keep it as long as calls are made, and let go of it when they are not.
    """

    __slots__ = ("_create_future", "_end_of_head", "_handle", "_head", "endpoint", "pool")

    def __init__(
        self, pool: HttpPool, method: str, path: str, authority: str, headers: bytes, *, handle: object
    ) -> None:
        self.pool = pool
        self._handle = handle  # as long as this is held, the client finds the pool
        self.endpoint = pool.endpoint
        self._head = f"{method} {path} HTTP/1.1\r\nhost: {authority}\r\n".encode("ascii") + headers
        self._end_of_head = b"\r\n" if method in _METHODS_WITHOUT_BODY else b"content-length: 0\r\n\r\n"
        self._create_future = asyncio.get_running_loop().create_future

    def send(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int, completion: Completion) -> None:
        """Sends one request; the completion takes a `Reply` or an `RpcError`. Never raises for the network's sake.

        Args:
            body: the request's body.
            headers: fields of this call, from `header_block` or `HeaderTemplate.fill`.
            timeout_ms: the whole call's time, waiting for a connection included; kept to within 20 ms.
            completion: takes the outcome; may be called before `send` returns.
        """
        if body:
            message = b"%b%bcontent-length: %d\r\n\r\n%b" % (self._head, headers, len(body), body)
        else:
            message = b"%b%b%b" % (self._head, headers, self._end_of_head)
        self.pool.send(message, timeout_ms, completion)

    def call(self, body: bytes, headers: bytes = NO_HEADERS, *, timeout_ms: int) -> asyncio.Future[Reply]:
        """As `send`, with a future; cancelling it gives the call up.

        The future raises `RpcError`; its `safety` says whether the request may have been executed.
        """
        future: asyncio.Future[Reply] = self._create_future()
        self.send(body, headers, timeout_ms=timeout_ms, completion=future)
        return future
