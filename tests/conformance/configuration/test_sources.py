"""What every source of configuration must keep, whatever it is made of."""

import asyncio
import time

import pytest
from kazoo.exceptions import ConnectionLoss

from conformance.configuration.kinds import SqlKind, ZooKeeperKind
from placet_rpc.configuration import LiveConfiguration
from placet_rpc.configuration.source import DOCUMENT_BYTES_MAX
from placet_rpc.governance.access import AccessList

FIRST, SECOND = b'{"reason": "first"}', '{"reason": "zweitens: Straße, 道"}'.encode()


async def until(look):
    """Waits until something holds that a watch brings about."""
    async with asyncio.timeout(20):
        while not look():  # noqa: ASYNC110 - it is set by whatever the watch finds
            await asyncio.sleep(0.005)


async def test_nothing_is_there_until_it_is_put_there(kind, source, watched):
    """A missing document is no error, and a watch tells of the first one."""
    assert await source.read() is None
    await watched(lambda said: said is None)
    await kind.put(FIRST)
    assert (await watched(lambda said: said is not None)).document == FIRST


async def test_a_document_is_read_byte_for_byte_under_one_revision(kind, open_more):
    """By whomever and however often; another content has another revision."""
    sources = [await open_more(), await open_more()]
    await kind.put(FIRST)
    before = [await source.read() for source in (*sources, *sources)]
    assert {(said.document, said.revision) for said in before} == {(FIRST, before[0].revision)}
    await kind.put(SECOND)
    after = [await source.read() for source in sources]
    assert {said.document for said in after} == {SECOND}
    assert {said.revision for said in after} == {after[0].revision} != {before[0].revision}


async def test_a_watch_ends_up_with_the_last_of_many_changes(kind, watched):
    """Changes that come fast may be left out, but never the last."""
    for number in range(20):
        await kind.put(b'{"reason": "%d"}' % number)
    await watched(lambda said: said.document == b'{"reason": "19"}')


async def test_a_watch_that_nothing_happens_to_still_says_that_it_lives(kind, watched):
    """The same is said again, so that silence has a meaning."""
    await kind.put(FIRST)
    first = await watched(lambda said: said is not None)
    assert await watched(lambda _said: True) == first


async def test_what_is_taken_away_is_gone_and_can_come_back(kind, source, watched):
    """None again, then the new one."""
    await kind.put(FIRST)
    await watched(lambda said: said is not None)
    await kind.remove()
    await watched(lambda said: said is None)
    assert await source.read() is None
    await kind.put(SECOND)
    assert (await watched(lambda said: said is not None)).document == SECOND


async def test_the_time_of_a_change_is_plausible_where_it_is_known(kind, source):
    """Servers of tests have this machine's clock."""
    await kind.put(FIRST)
    said = await source.read()
    assert said.changed_at_ms is None or abs(said.changed_at_ms - time.time() * 1000) < 60_000
    assert said.changed_by == ("ana" if isinstance(kind, SqlKind) else "")


async def test_a_running_server_takes_what_is_put_there(kind, source):
    """Rules of its access list, within one watch; a mistake is refused and the last good ones stay."""
    rules = AccessList()
    live = LiveConfiguration(source, access=rules)
    await live.start()
    try:
        await kind.put(b'{"access": [{"methods": "stock/*", "allow": ["app:order"]}]}')
        await until(lambda: [rule.methods for rule in rules.rules] == ["stock/*"])
        if not isinstance(kind, SqlKind):  # whose `publish` refuses it before anybody reads it
            await kind.put(b'{"access": [{"method": "*"}]}')
            await until(lambda: "unknown field" in live.rejected)
            assert [rule.methods for rule in rules.rules] == ["stock/*"]
        await kind.put(b'{"access": []}')
        await until(lambda: rules.rules == ())
        assert live.rejected == ""
    finally:
        await live.aclose()


async def test_what_is_too_long_is_cut_where_everybody_sees_that_it_is(kind, source):
    """A source does not bring down its readers; the check says what is wrong."""
    if isinstance(kind, SqlKind):
        with pytest.raises(ValueError, match="longer than"):
            await kind.put(b'"' + b"x" * DOCUMENT_BYTES_MAX + b'"')
        return
    if isinstance(kind, ZooKeeperKind):  # which has a smaller limit of its own, and closes the connection
        with pytest.raises(ConnectionLoss):
            await kind.put(b" " * (DOCUMENT_BYTES_MAX + 1))
        return
    await kind.put(b" " * (DOCUMENT_BYTES_MAX + 1))
    assert len((await source.read()).document) == DOCUMENT_BYTES_MAX + 1
