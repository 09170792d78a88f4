"""What OpenAPI says is what the server does: calls made up from the schema get answers that the schema describes."""

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from placet_contract.limits import WAIT_MS_MAX

EXAMPLES_EACH = 8
"""Of every operation, once as the schema wants it and once against it: some 200 requests in all."""

OPERATIONS = [
    "POST /v1/transactions",
    "POST /v1/transactions/{gid}/branches",
    "POST /v1/transactions/{gid}/commit",
    "POST /v1/transactions/{gid}/abort",
    "POST /v1/transactions/{gid}/retry",
    "POST /v1/transactions/finished",
    "GET /v1/transactions",
    "GET /v1/transactions/{gid}",
    "PUT /v1/services/{service}/instances/{instance_id}",
    "DELETE /v1/services/{service}/instances/{instance_id}",
    "GET /v1/services/{service}",
    "GET /v1/services",
    "GET /v1/nodes",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
]
WITHOUT_INPUT = {"GET /v1/services", "GET /v1/nodes", "GET /healthz", "GET /readyz", "GET /metrics"}
"""There is nothing in their calls that could be against the schema."""

CASES = [
    (operation, mode)
    for operation in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or operation not in WITHOUT_INPUT
]
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def described(server):
    """The server's own description of itself."""
    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


def test_every_operation_is_tried(described):
    """A new call of the API joins this list."""
    found = [each.ok().label for each in described.get_all_operations()]
    assert sorted(found) == sorted(OPERATIONS)


def without_waiting(case):
    """Shortens a `wait_ms` that the server would grant: what is begun here has nobody who would finish it."""
    wait_ms = str((case.query or {}).get("wait_ms", ""))
    if wait_ms.isdecimal() and int(wait_ms) <= WAIT_MS_MAX:
        case.query["wait_ms"] = min(int(wait_ms), 10)
    return case


@pytest.mark.parametrize(("operation", "mode"), CASES, ids=lambda value: getattr(value, "value", value))
def test_calls_made_up_from_the_schema_are_answered_as_it_says(described, operation, mode):
    """No server error; status, content type, headers and body are among those described."""
    method, path = operation.split()

    @given(case=described[path][method].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES_EACH,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def call(case):
        response = without_waiting(case).call()
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKS)

    call()
