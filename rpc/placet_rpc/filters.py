"""The client's chain of filters: where each stands, and what may be put into its named places.

    context → auth → degrade → statistics → rate limit → bulkhead → ordering → breaker → cluster strategy
        → for each attempt: [budget → router → balancer with ejection → attempts → transport]

The breaker stands after whatever may hold a call back, so that no waiting call owns one of its permits. Statistics
see what callers see, limits and retries included; `attempts` sees every single request to an instance.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

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


def chained(filters: Iterable[ClientFilter], last: Proceed) -> Proceed:
    """Returns the way through some filters, the first one outermost, to what comes last."""
    for each in reversed(tuple(filters)):
        last = _linked(each, last)
    return last


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
