"""The server's half of a call: find the method, decode, run, encode. Knows no transport."""

import asyncio
import contextvars
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import msgspec
from msgspec.structs import asdict

from placet_rpc.codecs.codec import Codec
from placet_rpc.context import CURRENT, CallContext
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.governance.counting import ServedStatistics
from placet_rpc.outcome import AT_LIMIT, FAULT, NO_SUCH_METHOD, OK, RAISED, UNFIT, Raised
from placet_rpc.served_call import Answer, Proceed, ServedCall, ServerFilter

_log = logging.getLogger("placet_rpc.server")

MAX_THREADS = 32
MAX_WAITING_FOR_THREADS = 256


class Threads:
    """The bounded pool in which plain `def` implementations run.

    Args:
        max_threads: that many run at a time.
        max_waiting: that many more may wait; beyond it calls are refused.
    """

    def __init__(self, max_threads: int = MAX_THREADS, max_waiting: int = MAX_WAITING_FOR_THREADS) -> None:
        self._limit = max_threads + max_waiting
        self._taken = 0
        self._pool = ThreadPoolExecutor(max_threads, thread_name_prefix="placet-rpc")

    @property
    def has_room(self) -> bool:
        """True if a call may be given to the pool."""
        return self._taken < self._limit

    async def run(self, function: Callable[[], Any]) -> Any:
        """Runs a function in a thread, in the caller's context; a thread can't be stopped, so it ends by itself."""
        context = contextvars.copy_context()
        self._taken += 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, context.run, function)
        future.add_done_callback(self._done)
        return await asyncio.shield(future)

    def _done(self, future: asyncio.Future[Any]) -> None:
        self._taken -= 1
        if not future.cancelled():
            future.exception()  # whoever waited has it; nobody may be left to ask

    def close(self) -> None:
        """Lets the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class Operation:
    """One method of one exposed service, with the filters that stand before it."""

    __slots__ = ("_counting", "_filtered", "_is_async", "_raises", "_threads", "function", "method", "service")

    def __init__(
        self,
        service: ServiceSpec,
        method: MethodSpec,
        function: Callable[..., Any],
        threads: Threads,
        *,
        counting: ServedStatistics,
        filters: Sequence[ServerFilter] = (),
    ) -> None:
        self.service, self.method, self.function = service, method, function
        self._threads, self._counting = threads, counting
        self._raises = service.options.raises
        self._is_async = inspect.iscoroutinefunction(function)
        self._filtered: Proceed | None = None
        for one in reversed(filters):
            self._filtered = _filtered(one, self._filtered or self._proceed)

    async def answer(self, codec: Codec, body: bytes, context: CallContext) -> Answer:
        """Runs one call from bytes to bytes, and counts it; raises nothing but a cancellation.

        It has to run in a task of its own: that is where the call's context stays. Without filters it is the only
        coroutine between the task and the implementation, for each weighs 300 bytes as long as the call lasts.
        """
        counting, filtered = self._counting, self._filtered
        row, began_at = counting.begin(context.caller, self.service.key, self.method.name)
        try:
            if filtered is None:
                begun = self._begin(codec, body, context)
                body = b""  # the call may last; its arguments are decoded
                answer = begun if isinstance(begun, Answer) else self._ended(codec, await begun)
            else:
                call = ServedCall(service=self.service, method=self.method, codec=codec, body=body, context=context)
                answer = await filtered(call)
        except Exception as error:  # noqa: BLE001 - whatever is raised, the caller gets a typed answer
            answer = self._failed(codec, error) if filtered is None else self._filter_failed(codec, error)
        except BaseException:
            counting.cancelled(row, began_at)
            raise
        counting.answered(row, began_at, answer)
        return answer

    async def _proceed(self, call: ServedCall) -> Answer:
        try:
            begun = self._begin(call.codec, call.body, call.context)
            return begun if isinstance(begun, Answer) else self._ended(call.codec, await begun)
        except Exception as error:  # noqa: BLE001 - as above
            return self._failed(call.codec, error)

    def _begin(self, codec: Codec, body: bytes, context: CallContext) -> Awaitable[Any] | Answer:
        """Calls the implementation; an answer if it can't be called."""
        try:
            arguments = asdict(self.method.coding(codec).decode_arguments(body))
        except ValueError as error:
            return _encoded(codec, UNFIT, Raised(detail=f"the arguments don't fit the method's signature: {error}"))
        if not self._is_async and not self._threads.has_room:
            return _encoded(
                codec, AT_LIMIT, Raised(detail="all threads of this server are busy, and enough calls wait")
            )
        if self.method.options.detached:
            # It goes on when its caller's time is up, so that time does not bound the calls that it makes either.
            context = msgspec.structs.replace(context, deadline_at=None)
        CURRENT.set(context)
        if self._is_async:
            running: Awaitable[Any] = self.function(**arguments)
            return running
        return self._threads.run(partial(self.function, **arguments))

    def _ended(self, codec: Codec, result: Any) -> Answer:
        return Answer(OK, self.method.coding(codec).encode_result(result))

    def _failed(self, codec: Codec, error: Exception) -> Answer:
        if isinstance(error, self._raises):
            return self._raised(codec, error)
        _log.error("%s.%s failed", self.service.key, self.method.name, exc_info=error)
        return _encoded(codec, FAULT, Raised(kind=type(error).__name__))

    def _filter_failed(self, codec: Codec, error: Exception) -> Answer:
        _log.error("a filter before %s.%s failed", self.service.key, self.method.name, exc_info=error)
        return _encoded(codec, FAULT, Raised(kind=type(error).__name__))

    def _raised(self, codec: Codec, error: Exception) -> Answer:
        # The contract names the type that a caller knows, which may be a base of what was raised.
        kind = next(kind for kind in self._raises if isinstance(error, kind))
        try:
            return _encoded(codec, RAISED, Raised(kind=kind.__name__, args=list(error.args), detail=str(error)))
        except (TypeError, ValueError):
            _log.exception("the args of %s can't be encoded", kind.__name__)
            return _encoded(codec, FAULT, Raised(kind=kind.__name__))


def _filtered(one: ServerFilter, proceed: Proceed) -> Proceed:
    answer = one.answer

    def through(call: ServedCall) -> Awaitable[Answer]:
        return answer(call, proceed)

    return through


def _encoded(codec: Codec, status: int, raised: Raised) -> Answer:
    return Answer(status, codec.encoder(Raised)(raised))


class Operations:
    """What a server offers, by service and method.

    Args:
        threads: for plain `def` implementations.
        counting: counts all calls, those that a filter answers too.
        filters: stand before all of them, the first outermost.
    """

    def __init__(self, threads: Threads, counting: ServedStatistics, filters: Sequence[ServerFilter] = ()) -> None:
        self._threads, self._counting = threads, counting
        self._filters = tuple(filters)
        self.services: dict[str, ServiceSpec] = {}
        self._operations: dict[tuple[str, str], Operation] = {}

    def add(self, service: ServiceSpec, implementation: object, filters: Sequence[ServerFilter] = ()) -> None:
        """Offers an implementation.

        Args:
            service: what is offered.
            implementation: of it.
            filters: stand before it after all others.

        Raises:
            ValueError: the service is offered already.
            TypeError: a method is missing, or its parameters are others.
        """
        if service.key in self.services:
            raise ValueError(f"{service.key} is exposed already")
        operations = {}
        for method in service.methods.values():
            function = getattr(implementation, method.name, None)
            where = f"{type(implementation).__name__}.{method.name}"
            if not callable(function):
                raise TypeError(f"{where} is missing, but {service.key} has it")
            _check_signature(where, function, method)
            operations[service.key, method.name] = Operation(
                service, method, function, self._threads, counting=self._counting, filters=(*self._filters, *filters)
            )
        self.services[service.key] = service
        self._operations.update(operations)

    def find(self, service: str, method: str) -> Operation | None:
        """Returns an operation, or None."""
        return self._operations.get((service, method))

    def missing(self, codec: Codec, service: str, method: str) -> Answer:
        """Returns the answer to a call of what is not offered."""
        detail = f"{service} has no method {method} here" if service in self.services else f"no {service} here"
        return _encoded(codec, NO_SUCH_METHOD, Raised(detail=detail))

    @property
    def contracts(self) -> Mapping[str, str]:
        """The contract hash of each service."""
        return {key: service.contract_hash for key, service in self.services.items()}


def _check_signature(where: str, function: Callable[..., Any], method: MethodSpec) -> None:
    try:
        inspect.signature(function).bind(**dict.fromkeys(method.names))
    except TypeError as error:
        raise TypeError(
            f"{where} can't take the parameters of the interface ({', '.join(method.names)}): {error}"
        ) from None
