"""What is answered instead of an error."""

import pytest

from placet_rpc import ConnectFailed, NoInstance
from placet_rpc.policies.degradation import Call, Degradation, Null, Raise, Value


class Closed(Exception):
    """Part of the contract."""


async def answer(_call):
    return 7


async def fail(_call):
    raise ConnectFailed("m")


async def reject(_call):
    raise Closed("of the contract")


@pytest.mark.parametrize("substitute", [Null(), Value(3), Call(lambda sku: 2 * len(sku[:1]))])
async def test_a_failed_call_is_answered_by_the_substitute(substitute, make_call):
    """An answer passes, an exception of the contract is one; a failure is replaced, counted and shown."""
    seen = []
    degradation = Degradation(substitute, None, lambda call, error: seen.append((call.method.name, type(error))))
    assert await degradation.invoke(make_call(), answer) == 7
    with pytest.raises(Closed):
        await degradation.invoke(make_call(), reject)
    expected = {Null: None, Value: 3, Call: 2}[type(substitute)]
    assert await degradation.invoke(make_call(), fail) == expected
    assert (degradation.counts.failed, degradation.counts.forced, seen) == (1, 0, [("peek", ConnectFailed)])


@pytest.mark.parametrize(
    "substitute", [Null(always=True), Value(None, always=True), Call(lambda sku: None, always=True)]
)
async def test_a_forced_substitute_never_calls(substitute, make_call):
    """Not even what would work."""
    seen = []
    degradation = Degradation(substitute, None, lambda _call, error: seen.append(error))
    assert await degradation.invoke(make_call(), answer) is None
    assert (degradation.counts.failed, degradation.counts.forced, seen) == (0, 1, [None])


async def test_an_exception_can_stand_in(make_call):
    """Made anew for each call."""
    degradation = Degradation(Raise(lambda: Closed("gone fishing")))
    raised = []
    for _ in range(2):
        with pytest.raises(Closed, match="gone fishing") as error:
            await degradation.invoke(make_call(), fail)
        raised.append(error.value)
    assert raised[0] is not raised[1]


async def test_a_function_may_be_async(make_call):
    """It gets the arguments by name."""

    async def remember(sku):
        return {"A1": 5}[sku]

    assert await Degradation(Call(remember)).invoke(make_call(), fail) == 5


async def test_what_is_put_in_while_running_holds_from_the_next_call_on(make_call):
    """The substitute can be switched."""
    degradation = Degradation(Value(1))
    assert await degradation.invoke(make_call(), fail) == 1
    degradation.substitute = Value(2, always=True)
    assert await degradation.invoke(make_call(), answer) == 2


def test_a_substitute_keeps_what_the_signature_promises(make_call):
    """What a method can't return, and a function that can't take its arguments, are refused when they are put in."""
    peek, reserve = make_call("peek").method, make_call("reserve").method
    for fits in (Null(), Value(3), Raise(Closed), Call(lambda sku: 1)):
        fits.check(peek)
    with pytest.raises(TypeError, match="reserve can't be degraded to None"):
        Null().check(reserve)
    with pytest.raises(TypeError, match="peek can't be degraded to 'three'"):
        Value("three").check(peek)
    with pytest.raises(TypeError, match=r"can't stand in for reserve\(sku, count\)"):
        Call(lambda sku: 1).check(reserve)


async def test_no_instance_at_all_is_a_failure_too(make_call):
    """A service that nobody offers degrades like one that fails."""

    async def nowhere(_call):
        raise NoInstance("m")

    assert await Degradation(Null()).invoke(make_call(), nowhere) is None
