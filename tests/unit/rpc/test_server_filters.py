"""What stands before an implementation, and what its refusals mean to a caller."""

from typing import Protocol

import pytest

from placet_contract.service import service
from placet_rpc import outcome
from placet_rpc.client import Client
from placet_rpc.errors import (
    CallOngoing,
    CallRefused,
    CallRepeated,
    KeyReused,
    OutcomeLost,
    OutOfOrder,
    RemoteFault,
    RpcError,
    Safety,
)
from placet_rpc.server import Server


@service("echo")
class Echo(Protocol):
    """Says what it hears."""

    async def say(self, text: str) -> str: ...


class EchoHere:
    """The implementation."""

    async def say(self, text: str) -> str:
        return text


class Noting:
    """A filter that writes down what passes."""

    def __init__(self, name, notes):
        self.name, self.notes = name, notes

    async def answer(self, call, proceed):
        self.notes.append(f"{self.name} before {call.name}")
        answer = await proceed(call)
        self.notes.append(f"{self.name} after {answer.status}")
        return answer

    async def aclose(self):
        self.notes.append(f"{self.name} closed")


class Refusing:
    """A filter that lets nothing through."""

    def __init__(self, status, reason, retry_after_ms=0):
        self.said = (status, reason, "the rule and the remedy")
        self.retry_after_ms = retry_after_ms

    async def answer(self, call, proceed):
        return call.refused(*self.said, retry_after_ms=self.retry_after_ms)

    async def aclose(self):
        """Holds nothing."""


async def say(*filters):
    """Makes one call through filters."""
    server = Server(tcp="127.0.0.1:0", filters=filters)
    server.expose(Echo)(EchoHere())
    async with server, Client(server.endpoint) as client:
        return await client.reference(Echo).say("hello")


async def test_the_first_filter_stands_outermost_and_all_are_closed_with_the_server():
    """Filters see a call in the order of their list, its answer in the opposite one."""
    notes = []
    assert await say(Noting("one", notes), Noting("two", notes)) == "hello"
    assert notes == [
        *("one before echo/1.say", "two before echo/1.say", "two after 200", "one after 200"),
        *("one closed", "two closed"),
    ]


@pytest.mark.parametrize(
    ("status", "reason", "kind", "safety"),
    [
        (outcome.UNAUTHENTICATED, "", CallRefused, Safety.NOT_EXECUTED),
        (outcome.FORBIDDEN, "", CallRefused, Safety.NOT_EXECUTED),
        (outcome.TAKEN_BEFORE, "repeated", CallRepeated, Safety.EXECUTED),
        (outcome.TAKEN_BEFORE, "outcome_lost", OutcomeLost, Safety.UNKNOWN),
        (outcome.NOT_ITS_TURN, "out_of_order", OutOfOrder, Safety.NOT_EXECUTED),
        (outcome.NOT_ITS_TURN, "moved", CallRefused, Safety.NOT_EXECUTED),
        (outcome.UNFIT, "key_reused", KeyReused, Safety.NOT_EXECUTED),
        (outcome.ONGOING, "", CallOngoing, Safety.UNKNOWN),
        (outcome.AT_LIMIT, "", CallRefused, Safety.NOT_EXECUTED),
        (outcome.UNAVAILABLE, "", CallRefused, Safety.NOT_EXECUTED),
    ],
)
async def test_a_filters_refusal_says_whether_anything_ran(status, reason, kind, safety):
    """Each status of a refusal is one error with one safety, and carries the filter's words."""
    with pytest.raises(RpcError, match="the rule and the remedy") as caught:
        await say(Refusing(status, reason))
    assert type(caught.value) is kind
    assert caught.value.safety is safety


@pytest.mark.parametrize(
    ("status", "push_back_ms"),
    [(outcome.AT_LIMIT, 70), (outcome.UNAVAILABLE, 70), (outcome.NOT_ITS_TURN, 70), (outcome.FORBIDDEN, -1)],
)
async def test_only_what_time_may_mend_is_worth_a_repeat(status, push_back_ms):
    """A refusal that will be the same next time tells the caller never to ask again."""
    with pytest.raises(CallRefused) as caught:
        await say(Refusing(status, "", retry_after_ms=70))
    assert caught.value.push_back_ms == push_back_ms


async def test_a_filter_that_fails_is_answered_as_a_fault(caplog):
    """What a filter raises by mistake stays in the log; the caller must assume that the method ran."""

    class Broken(Refusing):
        async def answer(self, call, proceed):
            raise LookupError("a secret")

    with pytest.raises(RemoteFault) as caught:
        await say(Broken(0, ""))
    assert caught.value.kind == "LookupError"
    assert "secret" not in str(caught.value)
    assert "a filter before echo/1.say failed" in caplog.text
