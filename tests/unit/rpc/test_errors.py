"""The tree of errors and what each says about repeating."""

import pickle

import pytest

from placet_rpc import (
    BreakerOpen,
    BroadcastFailed,
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    NoInstance,
    ProtocolViolation,
    ReplyTooLarge,
    RpcError,
    Safety,
    TargetRefused,
    errors,
)

EVERY = [
    (ConnectFailed("m", endpoint="http://h"), Safety.NOT_SENT),
    (TargetRefused("m", endpoint="http://h"), Safety.NOT_SENT),
    (LimitReached("m", limit="max_connections", endpoint="http://h"), Safety.NOT_SENT),
    (ConnectionLost("m", endpoint="http://h"), Safety.UNKNOWN),
    (ReplyTooLarge("m", limit="max_reply_bytes", endpoint="http://h"), Safety.UNKNOWN),
    (ProtocolViolation("m", endpoint="http://h"), Safety.UNKNOWN),
    (CallTimeout("m", safety=Safety.UNKNOWN, endpoint="http://h"), Safety.UNKNOWN),
    (ClientClosed("m", safety=Safety.NOT_SENT, endpoint="http://h"), Safety.NOT_SENT),
]


@pytest.mark.parametrize(("error", "safety"), EVERY, ids=lambda value: type(value).__name__)
def test_each_class_carries_its_safety_and_survives_pickling(error, safety):
    """An error that crosses a process keeps its class, its safety and its words."""
    copy = pickle.loads(pickle.dumps(error))
    assert error.safety is safety
    assert (type(copy), copy.__dict__, str(copy)) == (type(error), error.__dict__, str(error))
    assert str(error) == f"http://h: m [{error.code}, {safety.value}]"


def test_the_docstring_shows_every_class_under_its_parent():
    """The printed tree is the tree."""

    def descendants(kind):
        for child in kind.__subclasses__():
            yield child
            yield from descendants(child)

    tree = [line for line in errors.__doc__.splitlines() if "──" in line]
    assert {line.split("── ")[1].split()[0] for line in tree} == {kind.__name__ for kind in descendants(RpcError)}
    codes = [kind.code for kind in (RpcError, *descendants(RpcError))]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("failures", "succeeded", "safety"),
    [
        ({"a": NoInstance("m"), "b": ConnectionLost("m")}, (), Safety.UNKNOWN),
        ({"a": BreakerOpen("m", retry_after_ms=1)}, (), Safety.NOT_SENT),
        ({"a": NoInstance("m"), "b": KeyError("of the contract")}, (), Safety.EXECUTED),
        ({"a": NoInstance("m")}, ("b",), Safety.EXECUTED),
    ],
)
def test_a_failed_broadcast_is_as_grave_as_its_gravest_part(failures, succeeded, safety):
    """It may be repeated as a whole only if no instance ran it."""
    assert BroadcastFailed("m", failures=failures, succeeded=succeeded).safety is safety


def test_only_not_sent_and_not_executed_are_repeatable():
    """The rule that keeps a non-idempotent call from running twice."""
    assert {safety for safety in Safety if safety.repeatable} == {Safety.NOT_SENT, Safety.NOT_EXECUTED}
