"""Participants that do nothing, fast: one process, one answer to every request, over HTTP and over TCP.

python bench/noop.py HTTP_PORT TCP_PORT
"""

import asyncio
import sys

import httptools
import uvloop

from placet_rpc.frames import CODEC_HTTP
from placet_rpc.http.hot_request import HotRequest
from placet_rpc.tcp import HttpCalls, TcpServer

_BODY = b'{"ok":true}'
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + _BODY


class NoOp(asyncio.Protocol):
    """Answers each request as soon as it is whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvloop's is its own
        """Begin a connection."""
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(_ANSWER)


def _answer(request: HotRequest) -> None:
    request.respond(200, _BODY)


async def main(http_port: int, tcp_port: int) -> None:
    """Serve until killed."""
    http = await asyncio.get_running_loop().create_server(NoOp, "127.0.0.1", http_port, backlog=2048)
    tcp = TcpServer({CODEC_HTTP: HttpCalls(routes=lambda _method, _target: _answer)})
    await tcp.start(port=tcp_port)
    await http.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
