"""Gates: filters in two halves that share a coroutine, and behave as if each had its own."""

import asyncio

import pytest

from placet_rpc.filters import Gate, chained


class Noting(Gate):
    """Writes down what it sees."""

    def __init__(self, name, notes, *, refuses=None, waits=None):
        self.name, self.notes, self.refuses, self.waits = name, notes, refuses, waits

    def enter(self, call):
        self.notes.append(f"+{self.name}")
        if self.refuses is not None:
            raise self.refuses
        return f"{self.name} of {call}" if self.waits is None else self._wait()

    async def _wait(self):
        await self.waits.wait()
        return f"{self.name} after a wait"

    def leave(self, entered, error):
        self.notes.append((f"-{self.name}", entered, error))


class Around:
    """A filter with a coroutine of its own."""

    def __init__(self, notes):
        self.notes = notes

    async def invoke(self, call, proceed):
        self.notes.append("+around")
        try:
            return await proceed(call)
        finally:
            self.notes.append("-around")


@pytest.fixture
def notes():
    """What was seen, in order."""
    return []


async def answer(call):
    return f"answer to {call}"


async def test_gates_are_left_in_reverse_of_how_they_were_entered(notes):
    """As with nested filters; each is given back what it returned."""
    proceed = chained([Noting("a", notes), Noting("b", notes)], answer)
    assert await proceed("call") == "answer to call"
    assert notes == ["+a", "+b", ("-b", "b of call", None), ("-a", "a of call", None)]


async def test_a_filter_between_gates_stands_between_them(notes):
    """Only gates in a row share a coroutine."""
    await chained([Noting("a", notes), Around(notes), Noting("b", notes)], answer)("call")
    assert [note if isinstance(note, str) else note[0] for note in notes] == [
        "+a",
        "+around",
        "+b",
        "-b",
        "-around",
        "-a",
    ]


async def test_a_gate_that_refuses_is_not_left_and_those_before_it_are(notes):
    """They see the refusal as the call's outcome; those after it see nothing."""
    refusal = LookupError("full")
    gates = [Noting("a", notes), Noting("b", notes, refuses=refusal), Noting("c", notes)]
    with pytest.raises(LookupError, match="full"):
        await chained(gates, answer)("call")
    assert notes == ["+a", "+b", ("-a", "a of call", refusal)]


async def test_every_gate_sees_what_the_call_ended_with(notes):
    """The same error, on its way out."""
    error = ValueError("gone")

    async def fail(_call):
        raise error

    with pytest.raises(ValueError, match="gone"):
        await chained([Noting("a", notes), Noting("b", notes)], fail)("call")
    assert notes[2:] == [("-b", "b of call", error), ("-a", "a of call", error)]


async def test_a_call_waits_where_a_gate_says_so(notes):
    """The gates behind it are entered when the wait is over."""
    opened = asyncio.Event()
    call = asyncio.ensure_future(chained([Noting("a", notes, waits=opened), Noting("b", notes)], answer)("call"))
    await asyncio.sleep(0)
    assert notes == ["+a"]
    opened.set()
    await call
    assert notes[1:] == ["+b", ("-b", "b of call", None), ("-a", "a after a wait", None)]


async def test_a_caller_that_leaves_in_a_wait_was_never_let_in(notes):
    """The gate that it waits at is not left; the one before it is, with the cancellation."""
    gates = [Noting("a", notes), Noting("b", notes, waits=asyncio.Event())]
    call = asyncio.ensure_future(chained(gates, answer)("call"))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert [note if isinstance(note, str) else note[0] for note in notes] == ["+a", "+b", "-a"]
    assert isinstance(notes[-1][2], asyncio.CancelledError)


async def test_a_gate_alone_is_a_filter(notes):
    """Whoever calls its `invoke` need not know that it is a gate."""
    assert await Noting("a", notes).invoke("call", answer) == "answer to call"
    assert notes == ["+a", ("-a", "a of call", None)]
