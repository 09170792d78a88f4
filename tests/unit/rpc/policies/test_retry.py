"""What is sent again, and after how long."""

from datetime import timedelta

import pytest

from placet_rpc import (
    BreakerOpen,
    CallRefused,
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    LimitReached,
    NoInstance,
    RemoteFault,
    ReplyUnreadable,
    Safety,
    TargetRefused,
)
from placet_rpc.errors import CallOngoing, KeyReused, OutcomeLost, OutOfOrder
from placet_rpc.policies.retry import Retry, is_free, may_repeat

ALWAYS, IF_IDEMPOTENT, NEVER = (True, True), (False, True), (False, False)
EVERY = [
    (ConnectFailed("m"), ALWAYS),
    (NoInstance("m"), ALWAYS),
    (LimitReached("m", limit="max_waiting_calls"), ALWAYS),
    (CallRefused("m", reason="overloaded", push_back_ms=50), ALWAYS),
    (CallRefused("m", reason="draining"), ALWAYS),
    (CallTimeout("m", safety=Safety.NOT_SENT), ALWAYS),
    (CallTimeout("m", safety=Safety.UNKNOWN), IF_IDEMPOTENT),
    (ConnectionLost("m"), IF_IDEMPOTENT),
    (RemoteFault("m"), NEVER),
    (ReplyUnreadable("m"), NEVER),
    (CallRefused("m", reason="no_such_method", push_back_ms=-1), NEVER),
    (LimitReached("m", limit="max_message_bytes"), NEVER),
    (TargetRefused("m"), NEVER),
    (ClientClosed("m", safety=Safety.NOT_SENT), NEVER),
    (BreakerOpen("m", retry_after_ms=1), NEVER),
    (CallOngoing("m", retry_after_ms=40), IF_IDEMPOTENT),
    (OutcomeLost("m"), NEVER),
    (KeyReused("m"), NEVER),
    (OutOfOrder("m", push_back_ms=20), NEVER),
    (CallRefused("m", reason="moved"), NEVER),
]


@pytest.mark.parametrize(("error", "repeated"), EVERY, ids=lambda value: getattr(value, "code", ""))
def test_safety_decides_what_is_repeated(error, repeated):
    """What is not idempotent is repeated only where it was not sent or not executed; nothing that ran, ever."""
    assert (may_repeat(error, idempotent=False), may_repeat(error, idempotent=True)) == repeated


def test_only_what_cost_the_service_nothing_is_free():
    """What was not sent, and the refusal of an instance that goes away."""
    assert is_free(ConnectFailed("m"))
    assert is_free(CallRefused("m", reason="draining"))
    assert not is_free(CallRefused("m", reason="overloaded"))
    assert not is_free(ConnectionLost("m"))


def test_delays_grow_with_full_jitter_up_to_a_second():
    """Uniform from nothing to 50, 100, 200 … 1000 ms; a loop without any delay can't come of it."""
    retry = Retry(attempts=10)
    assert [retry.delay_ms(ConnectionLost("m"), attempt, 0.999) for attempt in (1, 2, 3, 6, 9)] == [
        49,
        99,
        199,
        999,
        999,
    ]
    assert retry.delay_ms(ConnectionLost("m"), 9, 0.0) == 10
    assert retry.delay_ms(ConnectionLost("m"), 3, 0.5) == 100


def test_the_server_may_say_how_long_to_wait():
    """Its push-back goes before the backoff."""
    for error in (CallRefused("m", reason="overloaded", push_back_ms=700), CallOngoing("m", retry_after_ms=700)):
        assert Retry().delay_ms(error, 1, 0.5) == 700


@pytest.mark.parametrize(
    "settings",
    [
        {"attempts": 0},
        {"backoff_first": timedelta()},
        {"backoff_first": timedelta(seconds=2)},
        {"attempt_timeout": timedelta()},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings):
    """The message names the rule."""
    with pytest.raises(ValueError, match=next(iter(settings))):
        Retry(**settings)
