"""Calls within this process: the same encoding and the same rules as over a wire, without one."""

import asyncio
import contextvars
import time

from placet_rpc.codecs import MSGPACK
from placet_rpc.context import CallContext
from placet_rpc.errors import CallTimeout, Safety
from placet_rpc.invocation import Invocation
from placet_rpc.outcome import result_of
from placet_rpc.server import Server
from placet_rpc.transport import Reply


class InprocRoute:
    """Calls to a server in this process; satisfies `Invoker`.

    Arguments and results are encoded and decoded again: nothing is shared, nothing passes that would not pass a wire.
    """

    endpoint = "inproc:"
    is_available = True

    def __init__(self, server: Server) -> None:
        self._operations = server.operations

    async def invoke(self, call: Invocation) -> object:
        """Makes the call."""
        if call.timeout_ms <= 0:
            raise CallTimeout("no time left", safety=Safety.NOT_SENT, endpoint=self.endpoint)
        operation = self._operations.find(call.service.key, call.method.name)
        if operation is None:
            answer = self._operations.missing(MSGPACK, call.service.key, call.method.name)
            return result_of(call, MSGPACK, Reply(answer.status, {}, answer.body), self.endpoint)
        context = CallContext(
            deadline_at=time.monotonic() + call.timeout_ms / 1000,
            caller=call.caller,
            is_local=True,
            traceparent=call.traceparent,
            xid=call.xid,
            key=call.key,
            idempotency_key=call.idempotency_key,
            attempt=call.attempt,
            extra=call.extra,
        )
        body = call.method.coding(MSGPACK).encode_arguments(call.arguments)
        # The callee has a task and context variables of its own, as it has over a wire.
        task = asyncio.create_task(operation.answer(MSGPACK, body, context), context=contextvars.Context())
        try:
            await asyncio.wait((task,), timeout=call.timeout_ms / 1000)
        finally:
            if not task.done() and not call.method.options.detached:
                task.cancel()
        if not task.done():
            raise CallTimeout("no reply in time", safety=Safety.UNKNOWN, endpoint=self.endpoint)
        answer = task.result()
        return result_of(call, MSGPACK, Reply(answer.status, {}, answer.body), self.endpoint)
