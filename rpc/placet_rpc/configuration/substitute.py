"""What a configuration lets calls be answered by."""

from typing import Any

from placet_rpc.codecs import JSON
from placet_rpc.contract import MethodSpec
from placet_rpc.invocation import Invocation
from placet_rpc.policies.degradation import Substitute


class JsonValue:
    """Answers with a value that was written as JSON, made anew each time, of the type that the method returns.

    Args:
        text: the value.
        always: never make the call.
    """

    def __init__(self, text: bytes, *, always: bool) -> None:
        self._text = text
        self.always = always

    def check(self, method: MethodSpec) -> None:
        """Looks whether the value is one that the method may return."""
        try:
            method.coding(JSON).decode_result(self._text)
        except ValueError as error:
            raise TypeError(f"{method.name} can't be degraded to this value, its result is another ({error})") from None

    async def answer(self, call: Invocation) -> Any:
        """Returns the value."""
        return call.method.coding(JSON).decode_result(self._text)


class ForcedSubstitute:
    """A substitute of the program's own; whether it is asked always is for the configuration to say.

    Args:
        substitute: of the program.
        always: never make the call.
    """

    def __init__(self, substitute: Substitute, *, always: bool) -> None:
        self._substitute = substitute
        self.always = always
        self.check = substitute.check
        self.answer = substitute.answer
