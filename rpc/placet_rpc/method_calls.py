"""Calls of methods that come over TCP: each is run in a task of its own, and ends when nobody waits for it."""

import asyncio
import time

from placet_rpc.call_headers import KnownHeaders
from placet_rpc.codecs import Codec
from placet_rpc.context import CallContext
from placet_rpc.dispatch import Operation, Operations
from placet_rpc.frames import Fault
from placet_rpc.frames.call import CallHeader
from placet_rpc.tcp.serving import IncomingCall


class MethodCalls:
    """Runs calls of methods that came over TCP in one codec; a handler of `TcpServer`."""

    def __init__(self, codec: Codec, operations: Operations) -> None:
        self._codec, self._operations = codec, operations
        self._headers = KnownHeaders()
        self._running: set[RunningCall] = set()

    def __call__(self, call: IncomingCall) -> None:
        """Runs a call."""
        try:
            header = self._headers.decode(call.frame.header)
        except ValueError:
            call.refuse(Fault.MALFORMED)
            return
        operation = self._operations.find(header.service, header.operation)
        if operation is None:
            answer = self._operations.missing(self._codec, header.service, header.operation)
            call.respond(answer.status, b"", answer.body)
            return
        running = RunningCall(call, operation, self._running)
        running.task = call.connection.loop.create_task(running.run(self._codec, header))
        call.when_gone = running


class RunningCall:
    """One call of a method that came over TCP; called when nobody waits for it any more (`CallGone`).

    Attributes:
        task: runs it.
    """

    __slots__ = ("_all", "_call", "_has_begun", "_operation", "task")

    def __init__(self, call: IncomingCall, operation: Operation, running: "set[RunningCall]") -> None:
        self.task: asyncio.Task[None]
        self._call, self._operation = call, operation
        self._has_begun = False
        self._all = running
        running.add(self)  # the event loop alone would not keep its task

    def __call__(self, *, stop: bool) -> None:
        """Ends it; what is detached outlives its caller, but not a shutdown that has waited long enough."""
        # A task that is cancelled before its first step does not even begin, so it could not say that it has ended.
        if self._has_begun and (stop or not self._operation.method.options.detached):
            self.task.cancel()

    async def run(self, codec: Codec, header: CallHeader) -> None:
        """Runs it, and answers."""
        self._has_begun = True
        call = self._call
        try:
            left_ms = call.left_ms
            if call.answered or (call.gone and not self._operation.method.options.detached):
                raise asyncio.CancelledError  # noqa: TRY301 - as if it had come in the midst of it
            if left_ms is not None and left_ms <= 0:
                call.refuse(Fault.EXPIRED)
                return
            answer = await self._operation.answer(codec, call.frame.body, _context(call, header, left_ms))
            if not call.answered:
                call.respond(answer.status, b"", answer.body)
        except asyncio.CancelledError:
            if not call.answered:
                call.refuse(Fault.CANCELLED)
            raise
        finally:
            self._all.discard(self)


def _context(call: IncomingCall, header: CallHeader, left_ms: int | None) -> CallContext:
    connection = call.connection
    return CallContext(
        deadline_at=None if left_ms is None else time.monotonic() + left_ms / 1000,
        caller=header.caller,
        identity=connection.identity,
        is_local=connection.is_local,
        traceparent=header.traceparent,
        xid=header.xid,
        key=header.key,
        idempotency_key=header.idempotency_key,
        attempt=header.attempt,
        extra=header.extra.copy(),  # the map may be that of other calls too
    )
