"""The registry dies under load, and no call knows of it; `bench/rpc_registry_outage.py` does it for a minute."""

import pytest

from integration.registry_outage import Times, outage

OUTAGE_SECONDS = 8.0
"""Longer than any `REFRESH`, and than every other time of `Times.shortened`."""


def redis_url(port, lease_ms):
    return f"redis://127.0.0.1:{port}/0?lease_ms={lease_ms}"


def zookeeper_url(port, lease_ms):
    return f"zookeeper://127.0.0.1:{port}/placet?session_ms={lease_ms}"


@pytest.mark.parametrize(("kind", "url"), [("redis", redis_url), ("zookeeper", zookeeper_url)])
async def test_no_call_fails_while_the_registry_is_dead(kind, url, tmp_path, private_server):
    """Through kill -9, outage and return every call is answered; who came meanwhile is called, who left is not."""
    times = Times.shortened(OUTAGE_SECONDS, tmp_path / "cache")
    server = private_server(kind)
    registry = url(server.port, int(times.lease.total_seconds() * 1000))
    tally = await outage(registry, times, server.kill, server.start)
    assert tally.failed == {}
    assert min(tally.answered[name] for name in "abcd") > 100
