"""A call on its way to an implementation, and the filters that stand before it. Knows no transport."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec

from placet_rpc.codecs.codec import Codec
from placet_rpc.context import CallContext
from placet_rpc.contract import MethodSpec, ServiceSpec
from placet_rpc.outcome import Raised


class Answer(NamedTuple):
    """What is sent back."""

    status: int
    body: bytes


class ServedCall(msgspec.Struct, kw_only=True):
    """One call that came in; filters may change its context, and nothing else.

    Attributes:
        service: the service.
        method: the method.
        codec: of the body, and of the answer's.
        body: the arguments as they came, not looked at yet.
        context: who calls, and what travelled along.
    """

    service: ServiceSpec
    method: MethodSpec
    codec: Codec
    body: bytes
    context: CallContext

    @property
    def name(self) -> str:
        """Service, version and method, such as `stock/1.reserve`."""
        return f"{self.service.key}.{self.method.name}"

    def refused(self, status: int, reason: str, detail: str, *, retry_after_ms: int = 0) -> Answer:
        """Makes the answer of a filter that does not let the call through.

        Args:
            status: one of `placet_rpc.outcome`, which says whether anything ran.
            reason: a stable word for the caller's program.
            detail: the rule and the remedy, for a human; never a payload or a secret.
            retry_after_ms: how long to wait before a repeat.
        """
        raised = Raised(kind=reason, detail=detail, retry_after_ms=retry_after_ms)
        return Answer(status, self.codec.encoder(Raised)(raised))


Proceed = Callable[[ServedCall], Awaitable[Answer]]
"""The rest of the chain: further filters, then the implementation."""


class ServerFilter(Protocol):
    """Stands before all implementations of a server.

    Every failure is an answer. What a filter raises is logged and answered as a fault, which says that the method ran.
    """

    async def answer(self, call: ServedCall, proceed: Proceed, /) -> Answer:
        """Answers a call: by `proceed`, at most once, or by itself."""
        ...

    async def aclose(self) -> None:
        """Lets go of what it holds; called once, after the last call was answered."""
        ...


@runtime_checkable
class OffersServices(Protocol):
    """A filter whose other halves, elsewhere, talk to it through services of its own."""

    def own_services(self) -> Iterable[tuple[ServiceSpec, Any]]:
        """Returns services and their implementations; the server offers them, and announces them nowhere."""
        ...
