"""A handler as an endpoint of FastAPI: its own parameters, and before them the barrier."""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Protocol, get_args

from fastapi import Depends, Request, Response
from pydantic import TypeAdapter
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from placet.answer import NULL, Answered, late
from placet.branch_call import BranchCall
from placet.branch_work import BranchWork, Doom, checked_result
from placet.context import entered
from placet.session import checked_session, in_thread, same_session
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation

CALL_KEY = "placet.call"
WORK_KEY = "placet.work"
_WORK_PARAMETER = "placet_work"
_DONE_PARAMETERS = frozenset({"done", "_done"})

Handler = Callable[..., Any]


class Host(Doom, Protocol):
    """The participant, as far as its endpoints need it."""

    @property
    def session(self) -> Callable[..., Any]:
        """The user's session dependency."""
        ...

    @property
    def late_after_ms(self) -> int:
        """The age of a transaction at which a try or action is refused."""
        ...


class BranchEndpoint:
    """Runs a handler between its barrier row and its commit; a callable with a signature that FastAPI reads.

    Args:
        handler: the user's function, `def` or `async def`; a `def` runs in a thread.
        operation: what it does.
        host: the participant.

    Attributes:
        handler: the user's function.
        operation: what it does.
        response_model: the type of the result, for OpenAPI.

    Raises:
        TypeError: the handler can't be one.
    """

    def __init__(self, handler: Handler, operation: Operation, host: Host) -> None:
        self.operation = operation
        self.__doc__ = inspect.getdoc(handler)
        self.handler = handler
        self._is_async = _is_async(handler)
        signature = _signature(handler)
        self.response_model = signature.return_annotation
        self._result = None if self.response_model is None else TypeAdapter(self.response_model)
        if operation not in FORWARD_OPERATIONS and self.response_model not in (None, Any):
            raise TypeError(
                f"{_name(handler)} returns {self.response_model}, but a {operation} answers nothing: write -> None"
            )
        done = [name for name in signature.parameters if name in _DONE_PARAMETERS]
        self._done_name = done[0] if done and operation not in FORWARD_OPERATIONS else None
        self._done = self._adapter_of(signature)
        self.__signature__ = self._with_work(signature, host)

    async def __call__(self, **values: Any) -> Response:
        """Runs the handler; FastAPI gives the values."""
        work: BranchWork = values.pop(_WORK_PARAMETER)
        _check_same_session(self.handler, work, values)
        if self._done_name is not None and self._done is not None:
            values[self._done_name] = self._done.validate_json(work.result or NULL)
        with entered(work.branch):
            if self._is_async:
                value = await self.handler(**values)
            else:
                value = await in_thread(self.handler, values)
        return await work.finish(checked_result(work.call.key, self._encoded(value)))

    def _encoded(self, value: Any) -> bytes:
        """Returns the result as JSON, as FastAPI would: validated by the declared type, names by alias."""
        if self.operation not in FORWARD_OPERATIONS or (value is None and self._result is None):
            return NULL
        if self._result is None:
            raise TypeError(
                f"{_name(self.handler)} returned a value, but is declared -> None: the row would not keep it"
            )
        return self._result.dump_json(self._result.validate_python(value, from_attributes=True), by_alias=True)

    def _adapter_of(self, signature: inspect.Signature) -> TypeAdapter[Any] | None:
        if self._done_name is None:
            return None
        annotation = signature.parameters[self._done_name].annotation
        return TypeAdapter(Any if annotation is inspect.Parameter.empty else annotation)

    def _with_work(self, signature: inspect.Signature, host: Host) -> inspect.Signature:
        users = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in signature.parameters.items()
            if name != self._done_name
        ]
        session_parameter = same_session(host.session, inspect.Signature(users))

        async def begin(request: Request, session: Annotated[Any, session_parameter]) -> BranchWork:
            call: BranchCall = request.scope[CALL_KEY]
            if self.operation in FORWARD_OPERATIONS and call.is_older_than(host.late_after_ms):
                raise Answered(late(call.key, "begun longer ago than this participant remembers"))
            work = BranchWork(call, checked_session(session), host)
            request.scope[WORK_KEY] = work
            await work.begin()
            return work

        # First, so that nothing of the request is done before the barrier is passed.
        own = inspect.Parameter(
            _WORK_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=Annotated[Any, Depends(begin)]
        )
        return inspect.Signature([own, *users])


def _signature(handler: Handler) -> inspect.Signature:
    try:
        signature = inspect.signature(handler, eval_str=True)
    except NameError as error:
        raise TypeError(
            f"{_name(handler)}: {error}; FastAPI reads annotations at run time, so import their names outside of "
            "TYPE_CHECKING"
        ) from error
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY}:
        raise TypeError(f"{_name(handler)}: write named parameters, without *args, ** and /")
    returns = signature.return_annotation
    if returns is inspect.Signature.empty:
        returns = Any
    if returns is type(None):
        returns = None
    if any(isinstance(part, type) and issubclass(part, Response) for part in (returns, *get_args(returns))):
        raise TypeError(f"{_name(handler)} returns a response: return the result itself, which the barrier can keep")
    return signature.replace(return_annotation=returns)


def _is_async(handler: Handler) -> bool:
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(getattr(handler, "__call__", None))  # noqa: B004


def _check_same_session(handler: Handler, work: BranchWork, values: dict[str, Any]) -> None:
    """The barrier's row and the handler's changes have to be one commit, or a repeat takes effect twice."""
    for name, value in values.items():
        if isinstance(value, Session | AsyncSession) and value is not work.session:
            raise TypeError(
                f"{_name(handler)}: its parameter {name} is another session than the barrier's; take it from the "
                "dependency that Participant(session=…) was given, with the same scope"
            )


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", None) or type(handler).__qualname__
