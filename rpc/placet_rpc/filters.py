"""The client's chain of filters: where each stands, and what may be put into its named places.

    context → auth → degrade → statistics → rate limit → bulkhead → ordering → breaker → cluster strategy
        → for each attempt: [budget → router → balancer with ejection → attempts → transport]

The breaker stands after whatever may hold a call back, so that no waiting call owns one of its permits. Statistics
see what callers see, limits and retries included; `attempts` sees every single request to an instance.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from types import CoroutineType
from typing import Any, Protocol, cast, runtime_checkable

from placet_rpc.invocation import Invocation

Proceed = Callable[[Invocation], Coroutine[Any, Any, Any]]
"""The rest of the chain, down to the transport."""


class ClientFilter(Protocol):
    """Stands in the way of calls, on their way out and of their outcomes on the way back."""

    async def invoke(self, call: Invocation, proceed: Proceed, /) -> Any:
        """Returns the result of a call, mostly by `return await proceed(call)`.

        A filter may change the call's fields (its arguments excepted), refuse it by an `RpcError` whose safety is
        NOT_SENT, or answer by itself. What takes time before the call goes on comes off `call.timeout_ms`.
        """
        ...


class Gate:
    """A filter that only looks at a call's beginning and end, so that gates in a row need one coroutine together.

    Satisfies `ClientFilter`. A coroutine of its own for each policy would be most of what a call under way weighs.
    """

    __slots__ = ()

    def enter(self, call: Invocation, /) -> Any:
        """Lets a call in, and returns what `leave` is to know; where it has to wait, a coroutine with that result.

        Raises:
            RpcError: the call is refused; its safety is NOT_SENT.
        """
        raise NotImplementedError

    def leave(self, entered: Any, error: BaseException | None, /) -> None:
        """Takes what a call that was let in came to. It must not raise.

        Args:
            entered: what `enter` returned.
            error: that the call has ended with; None: it has a result.
        """

    def invoke(self, call: Invocation, proceed: Proceed, /) -> Coroutine[Any, Any, Any]:
        """Makes the call, if it is let in."""
        return pass_through((self,), call, proceed)


async def pass_through(gates: Sequence[Gate], call: Invocation, proceed: Proceed) -> Any:
    """Makes a call that passes some gates, the first one outermost, and leaves them in reverse."""
    entered: list[Any] = []
    try:
        for gate in gates:
            entry = gate.enter(call)
            if type(entry) is CoroutineType:
                entry = await entry
            entered.append(entry)
        result = await proceed(call)
    except BaseException as error:
        _leave(gates, entered, error)
        raise
    _leave(gates, entered, None)
    return result


def _leave(gates: Sequence[Gate], entered: list[Any], error: BaseException | None) -> None:
    while entered:
        entry = entered.pop()
        gates[len(entered)].leave(entry, error)


def chained(filters: Iterable[ClientFilter], last: Proceed) -> Proceed:
    """Returns the way through some filters, the first one outermost, to what comes last."""
    runs = [(is_gate, tuple(run)) for is_gate, run in groupby(filters, lambda each: isinstance(each, Gate))]
    for is_gate, run in reversed(runs):
        if is_gate:
            last = _gated(cast("tuple[Gate, ...]", run), last)
            continue
        for each in reversed(run):
            last = _linked(each, last)
    return last


def _gated(gates: tuple[Gate, ...], inner: Proceed) -> Proceed:
    def proceed(call: Invocation) -> Coroutine[Any, Any, Any]:
        return pass_through(gates, call, inner)

    return proceed


def _linked(outer: ClientFilter, inner: Proceed) -> Proceed:
    invoke = outer.invoke

    def proceed(call: Invocation) -> Coroutine[Any, Any, Any]:
        return invoke(call, inner)

    return proceed


class Router(Protocol):
    """Says which instances may take a call."""

    def admits(self, call: Invocation, endpoint: Any, /) -> bool:
        """True if the call may go to the instance (a `registry.Endpoint`). If none is left, the call fails."""
        ...


@runtime_checkable
class ChoosesInstances(Protocol):
    """A filter in `Seams.ordering` that says which instance a call goes to, so it has to know them."""

    def attach(self, directory: Any, /) -> None:
        """Says where instances are known (a `cluster.Directory`); the client does so when it is made."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Seams:
    """Filters of the application, and of parts that know more than this chain, in its named places.

    Attributes:
        auth: before everything; adds proof of who calls.
        statistics: around everything that may refuse or repeat a call.
        ordering: decides when a call with a key may go on, and to which instance (`Invocation.instance`). A filter with
            a method `attach` is given the client's directory.
        attempts: around each request to one instance, which `Invocation.instance` names.
        routers: of each attempt; all have to admit an instance.
    """

    auth: tuple[ClientFilter, ...] = ()
    statistics: tuple[ClientFilter, ...] = ()
    ordering: tuple[ClientFilter, ...] = ()
    attempts: tuple[ClientFilter, ...] = ()
    routers: tuple[Router, ...] = ()
