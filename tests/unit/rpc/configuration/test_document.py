"""The document has the names of the settings, and nothing beside them."""

from datetime import timedelta

import msgspec
import pytest

from placet_rpc.configuration import read_document
from placet_rpc.configuration.change import DIFFERENCES_MAX, differences_of
from placet_rpc.configuration.document import (
    BreakerSetting,
    BulkheadSetting,
    Document,
    MethodSettings,
    RateSetting,
    overrides_of,
)
from placet_rpc.configuration.opening import open_source
from placet_rpc.configuration.source import DOCUMENT_BYTES_MAX
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.bulkhead import BulkheadLimits
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.settings import Settings


def names_of(kind):
    """Names of members as Python has them, without the unit."""
    return {name.removesuffix("_ms") for name in kind.__struct_fields__}


@pytest.mark.parametrize(
    ("wire", "names"),
    [
        (MethodSettings, set(Settings.__annotations__)),
        (BreakerSetting, set(BreakerLimits.__dataclass_fields__)),
        (BulkheadSetting, set(BulkheadLimits.__dataclass_fields__)),
        (RateSetting, set(Rate.__dataclass_fields__)),
    ],
)
def test_everything_that_can_be_set_can_be_configured(wire, names):
    """A setting that is new in the code is missing here until somebody adds it."""
    assert names_of(wire) == names


def test_times_parts_and_limits_become_settings():
    """Milliseconds become times, limits that are left out have their defaults, null says without."""
    text = b"""{"services": {"stock/1": {
        "timeout_ms": 800, "attempt_timeout_ms": null, "bulkhead": null, "balancer": "round_robin",
        "breaker": {"calls_min": 5, "slow_after_ms": 30}, "rate": {"per_second": 50},
        "methods": {"peek": {}, "count": {"bulkhead": {"wait_ms": 0}}}}}}"""
    assert overrides_of(read_document(text), {}) == {
        ("stock/1", ""): {
            "timeout": timedelta(milliseconds=800),
            "attempt_timeout": None,
            "bulkhead": None,
            "balancer": "round_robin",
            "breaker": BreakerLimits(calls_min=5, slow_after=timedelta(milliseconds=30)),
            "rate": Rate(per_second=50),
        },
        ("stock/1", "count"): {"bulkhead": BulkheadLimits(wait=timedelta())},
    }


def test_a_document_has_a_greatest_length():
    """What is longer is not even read."""
    with pytest.raises(ValueError, match="longer than"):
        read_document(b" " * (DOCUMENT_BYTES_MAX + 1))


def test_differences_are_bounded():
    """A thousand changed services are a hundred lines and a number; a long value is cut."""
    services = {f"s{number}/1": {"attempts": 2} for number in range(1_000)}
    lines = differences_of(Document(), msgspec.convert({"services": services}, Document))
    assert len(lines) == DIFFERENCES_MAX + 1
    assert lines[-1] == "and 900 more"
    long = {"services": {"s/1": {"degrade": {"value": "x" * 10_000}}}}
    (line,) = differences_of(Document(), msgspec.convert(long, Document))
    assert len(line) < 300


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://127.0.0.1/x", "nothing offers 'http'"),
        ("file:order.json", "file:/path/to"),
        ("file:/x?poll=1", "poll_ms"),
        ("redis://127.0.0.1:6379/0", "name="),
        ("redis://127.0.0.1:6379/0?name=a&poll_ms=0", "from 1"),
        ("zookeeper://127.0.0.1:2181", "one node"),
        ("zookeeper:///node", "host:port"),
    ],
)
async def test_a_url_that_is_no_source_says_what_one_looks_like(url, why):
    """The mistake is found when the source is opened."""
    with pytest.raises(ValueError, match=why):
        open_source(url)
