"""What travels with a call besides its arguments: for the one that is being served, and for those made within it."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import msgspec

NESTED_RESERVE_MS = 5
"""A nested call gets this much less time than is left, so that its outcome can still be answered."""


class CallContext(msgspec.Struct, frozen=True, kw_only=True):
    """The call that is being served.

    Attributes:
        deadline_at: in `time.monotonic` seconds; None if the caller gave none.
        caller: the calling application, as it says.
        identity: URIs of the caller's checked certificate.
        is_local: it came from this machine by a connection of its own: not through HTTP, where a proxy may stand.
        traceparent: W3C trace context.
        xid: the global transaction that the call belongs to.
        key: its ordering key.
        idempotency_key: under which it has one effect.
        attempt: counted from 1.
        extra: of the caller's filters, for their other half here.
    """

    deadline_at: float | None = None
    caller: str = ""
    identity: tuple[str, ...] = ()
    is_local: bool = False
    traceparent: str = ""
    xid: str = ""
    key: str = ""
    idempotency_key: str = ""
    attempt: int = 1
    extra: dict[str, str] = {}

    @property
    def left_ms(self) -> int | None:
        """The time left."""
        return None if self.deadline_at is None else int((self.deadline_at - time.monotonic()) * 1000)


class CallOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a caller says of the calls in a block; see `call_options`.

    Attributes:
        timeout_ms: of each call.
        key: ordering key.
        idempotency_key: under which the call has one effect.
        instance: the only one that calls may go to.
        settings: names and values of what goes before the settings of all other levels (`placet_rpc.settings`).
    """

    timeout_ms: int | None = None
    key: str | None = None
    idempotency_key: str | None = None
    instance: str | None = None
    settings: tuple[tuple[str, Any], ...] = ()


CURRENT: ContextVar[CallContext | None] = ContextVar("placet_call", default=None)
OPTIONS: ContextVar[CallOptions | None] = ContextVar("placet_call_options", default=None)


def current_call() -> CallContext | None:
    """Returns the call that is being served here, or None."""
    return CURRENT.get()


@contextlib.contextmanager
def call_options(
    *,
    timeout: timedelta | None = None,
    key: str | None = None,
    idempotency_key: str | None = None,
    instance: str | None = None,
    attempts: int | None = None,
    attempt_timeout: timedelta | None = None,
    balancer: str | None = None,
    cluster: str | None = None,
) -> Iterator[None]:
    """Sets options of the calls made in the block. What it does not say holds as outside of it.

    Args:
        timeout: of each call; goes before the method's and the client's.
        key: ordering key; goes before the method's `order_by`.
        idempotency_key: under which the call has one effect; of one call, so make one in the block.
        instance: the id of the only one that calls may go to.
        attempts: of each call.
        attempt_timeout: of each attempt.
        balancer: chooses the instance.
        cluster: strategy.
    """
    outer = OPTIONS.get() or CallOptions()
    said = {"attempts": attempts, "attempt_timeout": attempt_timeout, "balancer": balancer, "cluster": cluster}
    settings = dict(outer.settings) | {name: value for name, value in said.items() if value is not None}
    options = CallOptions(
        timeout_ms=outer.timeout_ms if timeout is None else timeout // timedelta(milliseconds=1),
        key=outer.key if key is None else key,
        idempotency_key=outer.idempotency_key if idempotency_key is None else idempotency_key,
        instance=outer.instance if instance is None else instance,
        settings=tuple(sorted(settings.items())),
    )
    token = OPTIONS.set(options)
    try:
        yield
    finally:
        OPTIONS.reset(token)
