"""What holds while a source's server is killed, and after it has come back."""

import asyncio

import pytest

from conformance.configuration.kinds import KINDS
from conformance.configuration.test_sources import until
from placet_rpc.configuration import LiveConfiguration
from placet_rpc.governance.access import AccessList

RULE = b'{"access": [{"methods": "%s"}]}'


@pytest.fixture(params=["redis", "zookeeper", "postgres"])
async def kind(request, private_server):
    """The kinds that have a server, each with one of the test's own."""
    server = private_server(request.param)
    kind = KINDS[request.param][0](server.url)
    kind.server_process = server
    await kind.prepare()
    yield kind
    await kind.clear()


async def put_when_up(kind, document):
    """Puts a document there as soon as the server takes it."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await kind.put(document)
            except Exception:  # noqa: BLE001 - each driver has its own word for a server that is not up yet
                await asyncio.sleep(0.1)


async def test_the_last_word_stands_through_the_death_of_the_server(kind, source):
    """Killed, the source is in trouble and its rules hold; back again, with or without its memory, it is heard."""
    rules = AccessList()
    live = LiveConfiguration(source, access=rules)
    await put_when_up(kind, RULE % b"a/*")
    await live.start()
    try:
        await until(lambda: [rule.methods for rule in rules.rules] == ["a/*"])
        kind.server_process.kill()
        await until(lambda: live.trouble)
        assert [rule.methods for rule in rules.rules] == ["a/*"]
        kind.server_process.start()
        await put_when_up(kind, RULE % b"b/*")
        async with asyncio.timeout(60):
            while [rule.methods for rule in rules.rules] != ["b/*"]:
                assert rules.rules
                await asyncio.sleep(0.01)
        assert live.trouble == ""
    finally:
        await live.aclose()
