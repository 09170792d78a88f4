"""OpenAPI from the structs that decode and encode: what is described is what is done."""

from collections.abc import Iterable
from typing import Any

import msgspec

from placet_contract import problems
from placet_contract.ids import ID_ALPHABET
from placet_contract.limits import BRANCH_ID_LENGTH_MAX, GID_LENGTH_MAX
from placet_contract.problems import Problem, problem
from placet_coordinator.api.calls import ApiCall

_REF = "#/components/schemas/{name}"
_LENGTHS = {"gid": GID_LENGTH_MAX, "service": BRANCH_ID_LENGTH_MAX, "instance_id": BRANCH_ID_LENGTH_MAX}
_ALWAYS = (401, 403, 500)
_OPEN = (500,)

_EXAMPLES = {
    400: problem(problems.NOT_JSON, "The body is not JSON", 400, detail="Expecting value: line 1 column 1 (char 0)"),
    401: problem(problems.UNAUTHORIZED, "A valid token is needed", 401, detail="send `Authorization: Bearer …`"),
    403: problem(problems.FORBIDDEN, "Cross-site request refused", 403),
    404: problem(problems.NOT_FOUND, "No such transaction", 404, gid="t-1"),
    409: problem(
        problems.CONFLICT,
        "The transaction's state does not allow this",
        409,
        rule="abort was decided; a decision never changes",
        gid="t-1",
        transaction_status="aborted",
        reason="timeout",
    ),
    413: problem(problems.TOO_LARGE, "The body is too large", 413, limit=1_048_576),
    422: problem(
        problems.RULE,
        "A rule of the wire is broken",
        422,
        detail="branches[0].timeout_ms: expected int >= 1",
        field="branches[0].timeout_ms",
        rule="expected int >= 1",
        limit=1,
    ),
    500: problem(problems.UNAVAILABLE, "The outcome is unknown; repeat the call", 500),
    503: problem(problems.OVERLOADED, "Nothing was written; try again", 503, detail="repeat the call after 1 s"),
}
_MEANINGS = {
    400: "Not JSON in UTF-8.",
    401: "A token is needed.",
    403: "A browser sent it for another site's page.",
    404: "Never begun here, or past the retention.",
    409: "Against the transaction's state; nothing changed.",
    413: "Over the size limit.",
    422: "Well-formed, but against a rule, or other content under a known id; `field`, `rule` and `limit` say which.",
    500: "The outcome is unknown: repeat the call, it is idempotent.",
    503: "Nothing was written: try again after Retry-After.",
}


def schemas_of(calls: Iterable[ApiCall]) -> dict[str, Any]:
    """Return the component schemas of every body and reply."""
    kinds: list[type[Any]] = [Problem]
    for call in calls:
        kinds.extend(reply.kind for reply in call.replies if reply.kind is not None)
        if call.body is not None:
            kinds.append(call.body.kind)
    _, components = msgspec.json.schema_components(list(dict.fromkeys(kinds)), ref_template=_REF)
    return {name: _portable(schema) for name, schema in components.items()}


def describe(call: ApiCall) -> dict[str, Any]:
    """Return the OpenAPI operation of a call, apart from what FastAPI itself says of it."""
    told: dict[str, Any] = {"responses": _responses(call)}
    parameters = [_path_parameter(name) for name in _names_in(call.path)]
    if call.query is not None:
        parameters.extend(_query_parameters(call.query))
    if parameters:
        told["parameters"] = parameters
    if call.body is not None:
        content: dict[str, Any] = {"schema": _reference(call.body.kind)}
        if call.body_example is not None:
            content["example"] = call.body_example
        told["requestBody"] = {
            "required": not call.body.may_be_empty,
            "content": {"application/json": content},
        }
    told["security"] = [] if call.is_open else [{"bearer": []}, {}]
    return told


def _responses(call: ApiCall) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for reply in call.replies:
        told: dict[str, Any] = {"description": reply.description}
        if reply.kind is not None:
            content = {"schema": _reference(reply.kind)}
            if reply.example is not None:
                content["example"] = reply.example
            told["content"] = {reply.media_type: content}
        elif reply.media_type != "application/json":
            told["content"] = {reply.media_type: {"schema": {"type": "string"}}}
        responses[str(reply.status)] = told
    for status in sorted({*call.problems, *(_OPEN if call.is_open else _ALWAYS)}):
        content = {"schema": {"$ref": _REF.format(name="Problem")}, "example": msgspec.to_builtins(_EXAMPLES[status])}
        told = {"description": _MEANINGS[status], "content": {problems.CONTENT_TYPE: content}}
        if status == 503:  # noqa: PLR2004 - the one status that comes with this header
            told["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
        responses[str(status)] = told
    return responses


def _reference(kind: type[Any]) -> dict[str, Any]:
    return {"$ref": _REF.format(name=kind.__name__)}


def _names_in(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def _path_parameter(name: str) -> dict[str, Any]:
    schema = {"type": "string", "pattern": f"^[{ID_ALPHABET}]{{1,{_LENGTHS[name]}}}$"}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(kind: type[Any]) -> list[dict[str, Any]]:
    (schema,), components = msgspec.json.schema_components([kind], ref_template=_REF)
    fields: dict[str, Any] = components[schema["$ref"].rpartition("/")[2]]["properties"]
    return [
        {"name": name, "in": "query", "required": False, "schema": _portable(_without_null(field, components))}
        for name, field in fields.items()
    ]


def _without_null(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema as a query parameter's: left out is left out, there is no null in a query string."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if kinds:
        (schema,) = kinds
    if "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    return {name: value for name, value in schema.items() if not (name == "default" and value is None)}


def _portable(schema: Any) -> Any:
    r"""Return a schema whose patterns are ECMA 262, as JSON Schema wants them: `$` there is what `\Z` is here."""
    if isinstance(schema, dict):
        return {
            name: value.replace("\\Z", "$") if name == "pattern" and isinstance(value, str) else _portable(value)
            for name, value in schema.items()
        }
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    return schema
