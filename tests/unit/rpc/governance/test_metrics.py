"""What Prometheus is told of a client and a server."""

import sys

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from placet_rpc.client import Client
from placet_rpc.configuration import LiveConfiguration
from placet_rpc.context import call_options
from placet_rpc.errors import BreakerOpen, LimitReached, NoInstance
from placet_rpc.filters import Seams
from placet_rpc.governance import metrics
from placet_rpc.governance.access import AccessList
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.metrics import OTHER, RpcMetrics
from placet_rpc.governance.statistics import Statistics
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.policies.degradation import Value
from placet_rpc.policies.rate_limit import Rate
from placet_rpc.registry.settings import CacheSettings
from placet_rpc.server import Server
from unit.rpc.governance.echo import Echo, EchoHere, Refused

ECHO = {"service": "echo/1", "method": "say"}


def scraped(collector):
    """What a scrape tells, by name and labels, through Prometheus' own text format."""
    registry = CollectorRegistry()
    registry.register(collector)
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def figure(told, name, **labels):
    """One figure, None if it is not told."""
    return told.get((f"placet_rpc_{name}", tuple(sorted(labels.items()))))


async def test_calls_are_told_by_method_and_class_of_error_at_both_ends():
    """Callers and instances are put together, latencies in seconds."""
    server, statistics = Server(tcp="127.0.0.1:0"), Statistics()
    server.expose(Echo)(EchoHere())
    seams = Seams(statistics=(CallStatistics(statistics),))
    async with server, Client(server.endpoint, app="a", seams=seams) as one, Client(server.endpoint, app="b") as other:
        for client in (one, one, other):
            await client.reference(Echo).say("x")
        with pytest.raises(Refused):
            await one.reference(Echo).refuse()
        told = scraped(RpcMetrics(client=one, client_statistics=statistics, server=server))
    assert figure(told, "client_calls_total", **ECHO) == 2
    assert figure(told, "server_calls_total", **ECHO) == 3
    assert figure(told, "server_failed_calls_total", **ECHO) == 0
    assert figure(told, "server_calls_in_flight", **ECHO) == 0
    assert figure(told, "client_errors_total", service="echo/1", method="refuse", error="raised") == 1
    assert 0 < figure(told, "client_recent_call_seconds", **ECHO, quantile="0.99") < 3
    assert figure(told, "breaker_open", **ECHO) == 0
    assert figure(told, "instances", service="echo/1") == 1
    assert not [name for name, labels in told if dict(labels).keys() & {"caller", "instance", "key"}]


async def test_what_a_client_does_not_send_is_told_by_what_forbade_it():
    """Breakers, rates and substitutes, those that began anew after a change of limits added up."""
    async with Client("tcp://127.0.0.1:1", app="a") as client:
        echo = client.reference(Echo, attempts=1, breaker=BreakerLimits(calls_min=1))
        for error in (Exception, BreakerOpen):
            with pytest.raises(error):
                await echo.say("x")
        told = scraped(RpcMetrics(client=client))
        assert figure(told, "breaker_open", **ECHO) == 1
        assert figure(told, "breaker_opened_total", **ECHO) == 1
        assert figure(told, "refused_calls_total", **ECHO, by="breaker") == 1
        client.override("echo/1", "say", breaker=None, rate=Rate(per_second=0.001))
        for error in (Exception, LimitReached):
            with pytest.raises(error):
                await echo.say("x")
        client.override("echo/1", "say", degrade=Value("y", always=True))
        assert await echo.say("x") == "y"
        told = scraped(RpcMetrics(client=client))
        assert figure(told, "refused_calls_total", **ECHO, by="rate_limit") == 1
        assert figure(told, "degraded_calls_total", **ECHO, why="forced") == 1
        assert figure(told, "bulkhead_taken", service="echo/1") == 0
        assert figure(told, "refused_calls_total", service="echo/1", method="", by="bulkhead") == 0


async def test_the_registrys_age_and_outages_are_told(tmp_path):
    """A registry that never spoke has no age, and its outages count."""
    file = tmp_path / "services.json"
    file.write_text("{}")
    cache = CacheSettings(folder=None)
    async with Client(registry=f"static:{file}", app="a", cache=cache) as client:
        with call_options(attempts=1), pytest.raises(NoInstance):
            await client.reference(Echo).say("x")
        told = scraped(RpcMetrics(client=client))
        assert 0 <= figure(told, "registry_age_seconds", service="echo/1") < 60
        assert figure(told, "registry_outages_total", service="echo/1") == 0
        assert figure(told, "registry_save_failures_total") == 0
        assert figure(told, "instances", service="echo/1") == 0


async def test_a_refused_configuration_is_told(tmp_path):
    """One figure to be woken by."""
    file = tmp_path / "order.json"
    file.write_text("{}")
    rules = AccessList()
    async with LiveConfiguration(f"file:{file}?poll_ms=5", access=rules) as live:
        told = scraped(RpcMetrics(configuration=live))
        assert figure(told, "configurations_total", verdict="applied") == 1
        assert figure(told, "configuration_rejected") == 0
    file.write_text("{")
    async with LiveConfiguration(f"file:{file}", access=rules) as live:
        told = scraped(RpcMetrics(configuration=live))
        assert figure(told, "configurations_total", verdict="rejected") == 1
        assert figure(told, "configuration_rejected") == 1
        assert figure(told, "configuration_age_seconds") >= 0


def test_a_family_has_so_many_series_and_no_more(monkeypatch):
    """What is beyond the limit is added up in counters, and left out of gauges."""
    monkeypatch.setattr(metrics, "SERIES_MAX", 10)
    statistics = Statistics()
    for number in range(30):
        row = statistics.row("a", "s/1", f"m{number:02}")
        row.in_flight += 1
        row.end(statistics.clock.monotonic())
    told = scraped(RpcMetrics(client_statistics=statistics))
    calls = {dict(labels)["method"]: value for (name, labels), value in told.items() if "client_calls_total" in name}
    assert len(calls) == 11
    assert calls[OTHER] == 20
    assert len([name for name, _ in told if name == "placet_rpc_client_calls_in_flight"]) == 10


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    """It is imported when metrics are asked for, and not before."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    monkeypatch.delitem(sys.modules, "prometheus_client.core")
    with pytest.raises(ImportError, match=r"placet\[server\]"):
        RpcMetrics(client_statistics=Statistics())


def test_there_is_something_to_tell_of():
    """Nothing at all is a mistake."""
    with pytest.raises(ValueError, match="nothing to tell"):
        RpcMetrics()
