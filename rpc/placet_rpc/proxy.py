"""Proxies: objects that look like the service and make calls."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from placet_rpc.context import CURRENT, NESTED_RESERVE_MS, OPTIONS, CallContext, CallOptions
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.errors import CallTimeout, Safety
from placet_rpc.invocation import Invocation, Invoker


class CallMaker:
    """Makes invocations from arguments: who calls, how long it may take, what travels along.

    Args:
        service: the service.
        invoker: takes the calls.
        caller: this application.
        timeouts_ms: of calls that say none, by method; may change.
    """

    def __init__(self, service: ServiceSpec, invoker: Invoker, *, caller: str, timeouts_ms: Mapping[str, int]) -> None:
        self._service, self._invoker, self._caller, self._timeouts_ms = service, invoker, caller, timeouts_ms

    def call(self, method: MethodSpec, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """Returns the call, to be awaited.

        Raises:
            TypeError: the arguments don't fit the signature.
            CallTimeout: there is no time left in the call that is being served here. NOT_SENT.
        """
        arguments = method.bind(args, kwargs)
        call = Invocation(
            service=self._service,
            method=method,
            arguments=arguments,
            timeout_ms=self._timeouts_ms[method.name],
            caller=self._caller,
            idempotent=method.options.idempotent,
        )
        if method.options.order_by:
            call.key = method.ordering_key(arguments)
        options = OPTIONS.get()
        if options is not None:
            _take_options(call, options)
        context = CURRENT.get()
        if context is not None:
            _take_context(call, context)
        return self._invoker.invoke(call)


def _take_options(call: Invocation, options: CallOptions) -> None:
    """Puts in what the caller said of the calls in a block."""
    if options.timeout_ms:
        call.timeout_ms = options.timeout_ms
    if options.key is not None:
        call.key = options.key
    call.idempotency_key = options.idempotency_key or ""
    call.instance = options.instance or ""


def _take_context(call: Invocation, context: CallContext) -> None:
    """Puts in what comes from the call that is being served.

    Raises:
        CallTimeout: no time is left of it. NOT_SENT.
    """
    call.traceparent, call.xid = context.traceparent, context.xid
    left_ms = context.left_ms
    if left_ms is not None and left_ms - NESTED_RESERVE_MS < call.timeout_ms:
        call.timeout_ms = left_ms - NESTED_RESERVE_MS
        if call.timeout_ms <= 0:
            raise CallTimeout("no time is left of the call that is being served", safety=Safety.NOT_SENT)


def make_proxy(
    service: ServiceSpec, maker: CallMaker, wait: Callable[[Coroutine[Any, Any, Any]], Any] | None = None
) -> Any:
    """Makes a proxy.

    Args:
        service: the service.
        maker: makes its calls.
        wait: for interfaces of plain `def` methods: waits for a call from another thread. None: `async def`.

    Raises:
        TypeError: the interface is declared for the other kind of client.
    """
    members: dict[str, Any] = {"__slots__": ()}
    for method in service.methods.values():
        if method.is_async is (wait is not None):
            how = "plain def: call it through SyncClient" if wait is None else "async def: call it through Client"
            raise TypeError(f"{service.key}.{method.name} is declared with {how}")
        members[method.name] = _asynchronous(maker, method) if wait is None else _waiting(maker, method, wait)
    return type(f"{service.options.name} proxy", (), members)()


def _asynchronous(maker: CallMaker, method: MethodSpec) -> Callable[..., Any]:
    call = maker.call

    def make(_self: object, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return call(method, args, kwargs)

    make.__name__ = method.name
    return make


def _waiting(
    maker: CallMaker, method: MethodSpec, wait: Callable[[Coroutine[Any, Any, Any]], Any]
) -> Callable[..., Any]:
    def make(_self: object, *args: Any, **kwargs: Any) -> Any:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return wait(maker.call(method, args, kwargs))
        raise RuntimeError(f"{method.name}() would block this event loop: declare it async and use Client")

    make.__name__ = method.name
    return make
