"""A call of a method on its way, and whoever takes it: a route to one endpoint, or a chain that ends in routes."""

from typing import Any, Protocol

import msgspec

from placet_rpc.contract import MethodSpec, ServiceSpec


class Invocation(msgspec.Struct, kw_only=True, gc=False):
    """One call of one method; filters may change what is not an argument.

    Attributes:
        service: the service.
        method: the method.
        arguments: a `method.arguments`.
        timeout_ms: left for the call, all attempts together.
        caller: this application.
        key: ordering key.
        idempotency_key: under which it has one effect.
        traceparent: W3C trace context.
        xid: the global transaction that it belongs to.
        attempt: counted from 1.
        instance: the only one that the call may go to, by its id; empty: whichever the balancer picks. In an attempt
            the one that it goes to.
        idempotent: may be repeated after an unknown outcome.
        extra: of filters and policies, for their other half at the server.
    """

    service: ServiceSpec
    method: MethodSpec
    arguments: Any
    timeout_ms: int
    caller: str = ""
    key: str = ""
    idempotency_key: str = ""
    traceparent: str = ""
    xid: str = ""
    attempt: int = 1
    instance: str = ""
    idempotent: bool = False
    extra: dict[str, str] = {}


class Invoker(Protocol):
    """Takes calls. Routes are invokers; so are cluster strategies and filters around them."""

    async def invoke(self, call: Invocation) -> Any:
        """Makes the call and returns its result.

        Raises:
            RpcError: there is no result; `safety` says what is known of the call.
            Exception: one of the types that the service's contract names (`raises`): the method ran and said so.
        """
        ...
