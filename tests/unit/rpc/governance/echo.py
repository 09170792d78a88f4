"""A service to watch, and a client whose calls pass filters."""

from typing import Protocol

from placet_contract.service import method, service
from placet_rpc.context import current_call


class Refused(Exception):
    """Part of the contract."""


@service("echo", raises=(Refused,))
class Echo(Protocol):
    """Says what it hears."""

    @method(idempotent=True)
    async def say(self, text: str) -> str: ...

    async def who(self) -> list[str]: ...

    async def refuse(self) -> None: ...


class EchoHere:
    """The implementation."""

    async def say(self, text: str) -> str:
        return text

    async def who(self) -> list[str]:
        call = current_call()
        return [call.caller, *call.identity]

    async def refuse(self) -> None:
        raise Refused


class Filtered:
    """An invoker behind filters, the first outermost."""

    def __init__(self, invoker, *filters):
        self._proceed = invoker.invoke
        for one in reversed(filters):
            self._proceed = _through(one, self._proceed)

    async def invoke(self, call):
        return await self._proceed(call)


def _through(one, proceed):
    async def through(call):
        return await one.invoke(call, proceed)

    return through
