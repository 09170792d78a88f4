"""What the decorators of a participant return: the user's function, still callable, that takes the other operations."""

import functools
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from placet_contract.vocabulary import Operation

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound=Callable[..., Any])

Register = Callable[[Operation, Callable[..., Any]], None]


class Action(Generic[P, R]):
    """A try or action; calling it calls the plain function, as a unit test does.

    Attributes:
        name: the action's name in its participant.
    """

    def __init__(self, name: str, handler: Callable[P, R], register: Register) -> None:
        functools.update_wrapper(self, handler)
        self.name = name
        self._handler = handler
        self._register = register

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Calls the handler, and nothing else."""
        return self._handler(*args, **kwargs)


class TccAction(Action[P, R]):
    """A try, to be completed by `confirm` and `cancel`."""

    def confirm(self, handler: H) -> H:
        """Declares what makes the try's reservation final; it must be able to succeed."""
        self._register(Operation.CONFIRM, handler)
        return handler

    def cancel(self, handler: H) -> H:
        """Declares what takes the try's reservation back; it must be able to succeed."""
        self._register(Operation.CANCEL, handler)
        return handler


class SagaAction(Action[P, R]):
    """A saga's action, to be completed by `compensate` if it leaves something to undo."""

    def compensate(self, handler: H) -> H:
        """Declares what takes the action back; its parameter `done` gets what the action returned."""
        self._register(Operation.COMPENSATE, handler)
        return handler
