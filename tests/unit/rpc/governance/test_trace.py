"""W3C trace context, and how calls get their place in a trace."""

import random
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_contract.service import service
from placet_rpc.contract import service_of
from placet_rpc.governance.trace import SAMPLED, TraceContext, Tracing
from placet_rpc.invocation import Invocation

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@service("echo")
class Echo(Protocol):
    """Something to call."""

    async def say(self) -> None: ...


def test_the_standards_example_is_read_and_written_again():
    """A valid field survives both ways."""
    text = f"00-{TRACE}-{SPAN}-01"
    context = TraceContext.parse(text)
    assert context == TraceContext(TRACE, SPAN, SAMPLED)
    assert str(context) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_what_the_standard_forbids_is_as_if_absent(text):
    """Version ff, ids of zeros, capitals, and more or less than version 00 has are not taken."""
    assert TraceContext.parse(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known():
    """What a later version adds behind the flags is ignored, and its unknown flags with it."""
    assert TraceContext.parse(f"cc-{TRACE}-{SPAN}-ff-what-will-be") == TraceContext(TRACE, SPAN, SAMPLED)


@given(st.text())
def test_no_text_breaks_the_reader(text):
    """Whatever stands in the field, it is a context or nothing."""
    context = TraceContext.parse(text)
    assert context is None or TraceContext.parse(str(context)) == context


async def called_with(tracing, traceparent):
    """Returns the trace of a call that went through the filter."""
    spec = service_of(Echo)
    say = spec.methods["say"]
    call = Invocation(service=spec, method=say, arguments=say.arguments(), timeout_ms=1, traceparent=traceparent)

    async def proceed(passed):
        return passed.traceparent

    return TraceContext.parse(await tracing.invoke(call, proceed))


async def test_a_call_within_a_call_is_its_child():
    """The trace and its flags stay, the span is new."""
    tracing = Tracing(chance=random.Random(1))
    parent = TraceContext(TRACE, SPAN, SAMPLED)
    one, other = [await called_with(tracing, str(parent)) for _ in range(2)]
    assert {one.trace_id, other.trace_id} == {TRACE}
    assert len({one.span_id, other.span_id, SPAN}) == 3
    assert one.flags == SAMPLED


@pytest.mark.parametrize("traceparent", ["", "nonsense"])
async def test_a_call_out_of_nothing_begins_a_trace(traceparent):
    """Without a valid parent each call has a trace of its own, recorded if that is asked for."""
    tracing = Tracing(sampled=True, chance=random.Random(1))
    one, other = [await called_with(tracing, traceparent) for _ in range(2)]
    assert one.trace_id != other.trace_id
    assert one.flags == SAMPLED
