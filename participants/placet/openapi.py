"""What OpenAPI says of every operation of a branch, beside the handler's own types."""

from typing import Any

from placet_contract import headers, problems
from placet_contract.vocabulary import FORWARD_OPERATIONS, Operation

_HEADERS = {
    headers.GID: "the global transaction",
    headers.BRANCH: "the branch",
    headers.OPERATION: "the operation, as in the path",
    headers.BEGUN_AT_MS: "when the transaction was begun, in milliseconds since 1970",
}
_TEXT = {"schema": {"type": "string"}}
_NUMBER = {"schema": {"type": "integer"}}


def parameters() -> dict[str, Any]:
    """Returns the headers that a call has to have, as an extra of the route."""
    return {
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": meaning}
            | (_NUMBER if name == headers.BEGUN_AT_MS else _TEXT)
            for name, meaning in _HEADERS.items()
        ]
    }


def responses(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """Returns the refusals that an operation may answer."""
    if operation in FORWARD_OPERATIONS:
        conflict = "`rejected`: a business no. `late`: it was cancelled or compensated before it came."
    elif operation is Operation.CONFIRM:
        conflict = "`not-tried`: there is no successful try of this branch here."
    else:
        conflict = "`conflict`: the branch was confirmed."
    return {
        409: _problem(conflict),
        425: _problem("`ongoing`: another call of this branch is at work; ask again later."),
    }


def _problem(description: str) -> dict[str, Any]:
    schema = {"type": "object", "required": ["type", "title", "status"]}
    return {"description": description, "content": {problems.CONTENT_TYPE: {"schema": schema}}}
