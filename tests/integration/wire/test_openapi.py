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

EXAMPLES_EACH = 10
"""Of every operation, once as the schema wants it and once against it: some 300 requests in all."""

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
        response = case.call()
        assert response.status_code < 500, response.text
        case.validate_response(response, checks=CHECKS)

    call()
