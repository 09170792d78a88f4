"""Placet's built-in RPC: services as typed proxies, and HTTP requests over HTTP/1.1 or one multiplexed TCP connection.

Services (`client`, `server`, `placet_contract.service`; over TCP, HTTP + JSON, or in process):

    server = Server(tcp="127.0.0.1:20880")
    server.expose(Stock)(StockInMemory())
    async with server, Client(server.endpoint, app="order") as client:
        await client.reference(Stock).reserve("A1", 2)

HTTP requests; over TCP (`placet_rpc.tcp`) the same with `TcpClient` and `tcp://` URLs, answered by the routes that
`TcpServer({CODEC_HTTP: HttpCalls(app, routes=hot)})` runs in process:

    async with HttpClient(limits=HttpLimits(max_connections=64), allow=policy) as client:
        # one call by hand
        reply = await client.request("GET", "http://127.0.0.1:8470/readyz", timeout=timedelta(seconds=1))
        reply.status, reply.header("content-type"), reply.body

        # the hot way: prepare the target and the header names once, then one future per call, no task and no timer
        confirm = client.target("http://127.0.0.1:7001/debit/confirm", headers=[("authorization", "Bearer …")])
        fields = HeaderTemplate("placet-gid", "placet-op", "placet-attempt")
        reply = await confirm.call(body, fields.fill(gid, "confirm", 1), timeout_ms=10_000)

        # hotter still: no future either; the outcome goes straight to an object of yours (`Completion`)
        confirm.send(body, fields.fill(gid, "confirm", 1), timeout_ms=10_000, completion=mine)

Every failure is an `RpcError` whose `safety` says what is known of the request at the other side (`errors`): only
NOT_SENT and NOT_EXECUTED (`safety.repeatable`) may be sent again if the operation is not idempotent. A reply with any
status is a `Reply`. Bad arguments raise `ValueError` before anything is sent. The client itself never sends a
request twice, never follows a redirect, ignores proxy variables of the environment, and checks certificates.
Make it inside the event loop that uses it; close it with `aclose(wait)`. `client.counters` holds plain integers.
"""

from placet_rpc.errors import (
    BreakerOpen,
    BroadcastFailed,
    CallCancelled,
    CallRefused,
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    NoInstance,
    ProtocolViolation,
    RemoteFault,
    ReplyTooLarge,
    ReplyUnreadable,
    RpcError,
    Safety,
    TargetRefused,
)
from placet_rpc.http import (
    NO_HEADERS,
    Address,
    AllowAddresses,
    HeaderBlock,
    HeaderTemplate,
    HttpClient,
    HttpCounters,
    HttpLimits,
    HttpTarget,
    header_block,
)
from placet_rpc.transport import Completion, Reply, Target

__all__ = [
    "NO_HEADERS",
    "Address",
    "AllowAddresses",
    "BreakerOpen",
    "BroadcastFailed",
    "CallCancelled",
    "CallRefused",
    "CallTimeout",
    "ClientClosed",
    "Completion",
    "ConnectFailed",
    "ConnectionLost",
    "HeaderBlock",
    "HeaderTemplate",
    "HttpClient",
    "HttpCounters",
    "HttpLimits",
    "HttpTarget",
    "LimitReached",
    "NoInstance",
    "ProtocolViolation",
    "RemoteFault",
    "Reply",
    "ReplyTooLarge",
    "ReplyUnreadable",
    "RpcError",
    "Safety",
    "Target",
    "TargetRefused",
    "header_block",
]
