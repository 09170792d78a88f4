"""Calls of methods that come over TCP: each is run in a task of its own, and ends when nobody waits for it."""

import asyncio
import contextvars
import time
from typing import Final

from placet_rpc.call_headers import KnownHeaders
from placet_rpc.codecs import Codec
from placet_rpc.context import CallContext
from placet_rpc.dispatch import Operation, Operations
from placet_rpc.frames import Fault
from placet_rpc.frames.call import CallHeader
from placet_rpc.served_call import Answer
from placet_rpc.tcp.serving import IncomingCall

_TASK_NAME: Final = "placet_rpc call"
"""One name for all: asyncio makes one for each task otherwise, and keeps it as long as the call."""
_EMPTY: Final = contextvars.Context()


class MethodCalls:
    """Runs calls of methods that came over TCP in one codec; a handler of `TcpServer`."""

    def __init__(self, codec: Codec, operations: Operations) -> None:
        self._codec, self._operations = codec, operations
        self._headers = KnownHeaders()
        self._detached: set[asyncio.Task[Answer]] = set()

    def __call__(self, call: IncomingCall) -> None:
        """Runs a call."""
        try:
            header = self._headers.decode(call.header)
        except ValueError:
            call.refuse(Fault.MALFORMED)
            return
        operation = self._operations.find(header.service, header.operation)
        if operation is None:
            answer = self._operations.missing(self._codec, header.service, header.operation)
            call.respond(answer.status, b"", answer.body)
            return
        left_ms = call.left_ms
        if left_ms is not None and left_ms <= 0:
            call.refuse(Fault.EXPIRED)
            return
        answering = operation.answer(self._codec, call.body, _context(call, header, left_ms))
        call.header = call.body = b""
        task = call.connection.loop.create_task(answering, name=_TASK_NAME)
        if operation.method.options.detached:
            # It outlives the connection, which keeps the others' tasks: the event loop alone would not.
            self._detached.add(task)
            task.add_done_callback(self._detached.discard, context=_EMPTY)
        running = RunningCall(call, operation, task)
        call.runner = running
        task.add_done_callback(running, context=_EMPTY)


class RunningCall:
    """One call of a method that came over TCP, and the task that runs it; called when that has ended."""

    __slots__ = ("_call", "_operation", "_task")

    def __init__(self, call: IncomingCall, operation: Operation, task: asyncio.Task[Answer]) -> None:
        self._call, self._operation, self._task = call, operation, task

    def leave(self, *, stop: bool) -> None:
        """Ends it; what is detached outlives its caller, but not a shutdown that has waited long enough."""
        if stop or not self._operation.method.options.detached:
            self._task.cancel()

    def __call__(self, task: asyncio.Task[Answer]) -> None:
        """Answers."""
        call = self._call
        if task.cancelled():
            if not call.answered:
                call.refuse(Fault.CANCELLED)
            return
        answer = task.result()
        if not call.answered:
            call.respond(answer.status, b"", answer.body)


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
