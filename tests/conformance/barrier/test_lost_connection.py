"""The connection to the participant's own database breaks: the answer is unknown, and a repeat finds out."""

import asyncio

import pytest

from conformance.barrier.kinds import KINDS
from conformance.barrier.service import serving
from conformance.store.proxy import Proxy

LIMIT_SECONDS = 20


@pytest.fixture(params=["asyncpg", "psycopg-sync", "asyncmy", "pymysql"])
async def behind(request):
    """A participant that reaches its database by way of a proxy."""
    kind = KINDS[request.param]
    url = request.getfixturevalue(kind.fixture)
    async with Proxy(url) as proxy, serving(kind, url, through=proxy.url) as service:
        yield service, proxy


async def test_commit_whose_acknowledgement_is_lost_is_found_by_the_repeat(behind):
    """The database has committed, nobody knows; the answer is no answer, and the repeat tells what was done."""
    service, proxy = behind
    await service.call("hold/try", said="a")
    calling = asyncio.create_task(service.call("hold/confirm", said="b", gate="open"))
    await service.gates["open"].arrived()
    proxy.loses_answers = True
    service.gates["open"].open()
    async with asyncio.timeout(LIMIT_SECONDS):
        while len(service.ledger.effects()) < 2:  # noqa: ASYNC110 - nothing tells when another process has committed
            await asyncio.sleep(0.01)
    proxy.cut()
    assert (await calling).status == 500
    assert (await service.settled("hold/confirm", said="c")).told == (200, None)
    assert service.ledger.effects() == [("try", "a"), ("confirm", "b of ref-a")]


async def test_commit_that_never_arrived_leaves_nothing(behind):
    """The connection is cut before the commit: the repeat is a first attempt."""
    service, proxy = behind
    calling = asyncio.create_task(service.call("book/action", said="a", gate="open"))
    await service.gates["open"].arrived()
    proxy.loses_requests = True
    service.gates["open"].open()
    await asyncio.wait_for(proxy.got_request.wait(), LIMIT_SECONDS)
    proxy.cut()
    assert (await calling).status == 500
    assert (await service.settled("book/action", said="b")).body == {"reference": "ref-b"}
    assert service.ledger.effects() == [("action", "b")]
