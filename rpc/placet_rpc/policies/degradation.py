"""What a caller gets where a service can't or must not be asked: a value instead of an error.

    @method(degrade=Null())                 # None where the call fails
    degrade=Value([], always=True)          # never call
    degrade=Raise(OutOfOrder)
    degrade=Call(cached_price)              # a function of the same arguments, plain or async

Exceptions of the contract are answers and pass. Each degraded call is counted and shown to an observer.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from placet_rpc.codecs import MSGPACK
from placet_rpc.contract import MethodSpec
from placet_rpc.errors import RpcError
from placet_rpc.filters import Proceed
from placet_rpc.invocation import Invocation


class Substitute(Protocol):
    """What is answered instead of a call."""

    always: bool
    """Never make the call; else only where it fails."""

    def check(self, method: MethodSpec) -> None:
        """Looks whether a method may answer so.

        Raises:
            TypeError: its callers would get what its signature does not promise.
        """
        ...

    async def answer(self, call: Invocation, /) -> Any:
        """Returns the answer, or raises it."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """Answers with a value, the same object each time: give one that nobody changes."""

    value: Any
    always: bool = False

    def check(self, method: MethodSpec) -> None:
        """Looks whether the value is one that the method may return."""
        coding = method.coding(MSGPACK)
        try:
            coding.decode_result(coding.encode_result(self.value))
        except (TypeError, ValueError) as error:
            message = f"{method.name} can't be degraded to {self.value!r}, its result is another ({error})"
            raise TypeError(f"{message}: set degrade for the methods that it suits") from None

    async def answer(self, _call: Invocation) -> Any:
        """Returns the value."""
        return self.value


class Null(Value):
    """Answers with None."""

    def __init__(self, *, always: bool = False) -> None:
        super().__init__(None, always)


@dataclass(frozen=True, slots=True, eq=False)
class Raise:
    """Raises an exception that callers of the service know, made anew each time."""

    make: Callable[[], Exception]
    always: bool = False

    def check(self, method: MethodSpec) -> None:
        """An exception fits any signature."""

    async def answer(self, _call: Invocation) -> Any:
        """Raises it."""
        raise self.make()


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Calls a function with the call's arguments by name; what it raises goes to the caller."""

    function: Callable[..., Any]
    always: bool = False

    def check(self, method: MethodSpec) -> None:
        """Looks whether the function takes the method's parameters."""
        try:
            inspect.signature(self.function).bind(**dict.fromkeys(method.names))
        except TypeError as error:
            name = getattr(self.function, "__name__", self.function)
            raise TypeError(f"{name} can't stand in for {method.name}({', '.join(method.names)}): {error}") from None

    async def answer(self, call: Invocation) -> Any:
        """Returns what the function returns."""
        arguments = call.arguments
        result = self.function(**{name: getattr(arguments, name) for name in call.method.names})
        return await result if inspect.isawaitable(result) else result


Degraded = Callable[[Invocation, RpcError | None], None]
"""An observer: the call, and the error that it had; None if it was not made."""


class DegradedCounts:
    """How often a method was answered by a substitute.

    Attributes:
        forced: calls that were not made.
        failed: calls that failed.
    """

    __slots__ = ("failed", "forced")

    def __init__(self) -> None:
        self.forced = 0
        self.failed = 0


class Degradation:
    """Answers calls of one method by a substitute; a `ClientFilter`.

    Args:
        substitute: what is answered.
        counts: where it is counted.
        observer: told of each degraded call.
    """

    def __init__(
        self, substitute: Substitute, counts: DegradedCounts | None = None, observer: Degraded | None = None
    ) -> None:
        self.substitute = substitute
        self.counts = counts or DegradedCounts()
        self._observer = observer

    async def invoke(self, call: Invocation, proceed: Proceed) -> Any:
        """Makes the call unless told otherwise, and answers by the substitute if there is no result."""
        error: RpcError | None = None
        if not self.substitute.always:
            try:
                return await proceed(call)
            except RpcError as raised:
                error = raised
            self.counts.failed += 1
        else:
            self.counts.forced += 1
        if self._observer is not None:
            self._observer(call, error)
        return await self.substitute.answer(call)
