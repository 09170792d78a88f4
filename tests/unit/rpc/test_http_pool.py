"""How connections are shared, awaited, kept and closed, and what the client counts."""

import asyncio
import time
from datetime import timedelta

import pytest

from placet_rpc import CallTimeout, ClientClosed, HttpLimits, LimitReached, Safety
from placet_rpc.http.pool import TICK_SECONDS
from unit.rpc.conftest import reply, until


async def hold(serve):
    """A server that answers only after `release` is set; it records the order of arrival."""
    release = asyncio.Event()

    async def script(peer):
        while True:
            server.requests.append((await peer.request()).rpartition(b"\r\n\r\n")[2])
            await release.wait()
            await peer.send(reply(b"%d" % peer.number))

    server = await serve(script)
    return server, release


async def test_no_more_than_max_connections_are_opened_and_the_rest_wait(serve, make_client):
    """Ten calls over two connections all end well."""
    client = make_client(limits=HttpLimits(max_connections=2))
    server, release = await hold(serve)
    target = client.target(server.url)
    calls = [target.call(b"%d" % number, timeout_ms=5_000) for number in range(10)]
    await until(lambda: len(server.requests) == 2)
    release.set()
    assert {(await call).status for call in calls} == {200}
    assert (server.connections, len(server.requests)) == (2, 10)


async def test_waiting_calls_are_sent_in_the_order_they_came(serve, make_client):
    """First come, first served."""
    client = make_client(limits=HttpLimits(max_connections=1))
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    await asyncio.gather(*(target.call(b"%d" % number, timeout_ms=5_000) for number in range(10)))
    assert [int(body) for body in server.requests] == list(range(10))


async def test_a_call_past_max_waiting_calls_is_refused_at_once(serve, make_client):
    """The queue has an end; the refusal names the limit and says that nothing was sent."""
    client = make_client(limits=HttpLimits(max_connections=1, max_waiting_calls=2))
    server, release = await hold(serve)
    target = client.target(server.url)
    accepted = [target.call(b"%d" % number, timeout_ms=5_000) for number in range(3)]
    refused = target.call(b"3", timeout_ms=5_000)
    assert refused.done()
    with pytest.raises(LimitReached) as caught:
        await refused
    assert (caught.value.limit, caught.value.safety) == ("max_waiting_calls", Safety.NOT_SENT)
    release.set()
    assert {(await call).status for call in accepted} == {200}
    assert server.requests == [b"0", b"1", b"2"]


async def test_time_up_while_waiting_for_a_connection_is_not_sent(serve, make_client):
    """A call that never got a connection is safe to repeat, and its bytes never reach the peer."""
    client = make_client(limits=HttpLimits(max_connections=1))
    server, release = await hold(serve)
    target = client.target(server.url)
    first = target.call(b"first", timeout_ms=5_000)
    late = target.call(b"late", timeout_ms=60)
    with pytest.raises(CallTimeout) as caught:
        await late
    assert caught.value.safety is Safety.NOT_SENT
    release.set()
    await first
    assert server.requests == [b"first"]


@pytest.mark.parametrize("timeout_ms", [0, -5])
async def test_a_call_without_time_left_is_not_sent(timeout_ms, serve, client):
    """A deadline that has passed upstream sends nothing, although a connection is free."""
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    await target.call(b"first", timeout_ms=5_000)
    with pytest.raises(CallTimeout) as caught:
        await target.call(b"late", timeout_ms=timeout_ms)
    assert caught.value.safety is Safety.NOT_SENT
    await target.call(b"last", timeout_ms=5_000)
    assert server.requests == [b"first", b"last"]


async def test_a_waiting_call_that_is_cancelled_is_never_sent(serve, make_client):
    """A caller that left the queue leaves nothing behind in it."""
    client = make_client(limits=HttpLimits(max_connections=1))
    server, release = await hold(serve)
    target = client.target(server.url)
    first, left, last = (target.call(body, timeout_ms=5_000) for body in (b"first", b"left", b"last"))
    left.cancel()
    release.set()
    await asyncio.gather(first, last)
    assert server.requests == [b"first", b"last"]
    assert client.counters.cancelled == 1


async def test_a_waiting_call_gets_a_connection_when_one_dies(serve, make_client):
    """The place of a lost connection is used again at once; only the call that was on it fails."""

    async def script(peer):
        await peer.request()
        if peer.number:
            await peer.send(reply())

    client = make_client(limits=HttpLimits(max_connections=1))
    server = await serve(script)
    target = client.target(server.url)
    outcomes = await asyncio.gather(
        target.call(b"", timeout_ms=5_000), target.call(b"", timeout_ms=5_000), return_exceptions=True
    )
    assert [type(outcome).__name__ for outcome in outcomes] == ["ConnectionLost", "Reply"]


async def test_the_warmest_connection_is_lent_first(serve, client):
    """After a burst the calls keep to one connection, so that the others can cool down and close."""
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    await asyncio.gather(*(target.call(b"", timeout_ms=5_000) for _ in range(5)))
    later = {(await target.call(b"", timeout_ms=5_000)).body for _ in range(5)}
    assert (len(later), server.connections) == (1, 5)


async def test_idle_connections_are_closed_after_the_idle_timeout(serve, make_client):
    """Nothing is kept open for ever, and a connection in use does not cool."""
    client = make_client(limits=HttpLimits(idle_timeout=timedelta(milliseconds=60)))
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    await asyncio.gather(*(target.call(b"", timeout_ms=5_000) for _ in range(3)))
    assert client.counters.connections_open == 3
    await until(lambda: client.counters.connections_open == 0)
    assert (await target.call(b"", timeout_ms=5_000)).status == 200
    assert server.connections == 4


async def test_a_connection_past_its_idle_time_is_not_lent_even_if_the_loop_was_blocked(serve, make_client):
    """The server may have closed it meanwhile; a request on it could only end as UNKNOWN."""
    client = make_client(limits=HttpLimits(idle_timeout=timedelta(milliseconds=60)))
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    assert (await target.call(b"", timeout_ms=5_000)).status == 200
    time.sleep(0.1)  # noqa: ASYNC251 - blocking the loop is what this test is about
    assert (await target.call(b"", timeout_ms=5_000)).status == 200
    assert server.connections == 2


async def test_a_connection_that_is_being_closed_is_not_lent(serve, client):
    """Between a transport's close and its last callback the pool still knows it."""
    server, release = await hold(serve)
    release.set()
    target = client.target(server.url)
    assert (await target.call(b"", timeout_ms=5_000)).status == 200
    (connection,) = target.pool._connections
    connection.transport.close()
    assert (await target.call(b"", timeout_ms=5_000)).status == 200
    assert server.connections == 2


async def test_waiting_calls_do_not_wait_for_a_tick_when_each_reply_ends_its_connection(serve, make_client):
    """A server without keep-alive is served as fast as connections open: 100 calls in well under 100 ticks."""

    async def script(peer):
        await peer.request()
        await peer.send(reply(b"{}", "200 OK", b"connection: close"))

    client = make_client(limits=HttpLimits(max_connections=1))
    target = client.target((await serve(script)).url)
    start = time.monotonic()
    await asyncio.gather(*(target.call(b"", timeout_ms=5_000) for _ in range(100)))
    assert time.monotonic() - start < 100 * TICK_SECONDS / 2


async def test_no_more_than_max_idle_connections_are_kept(serve, make_client):
    """A burst does not leave its connections behind."""
    client = make_client(limits=HttpLimits(max_idle_connections=1))
    server, release = await hold(serve)
    target = client.target(server.url)
    calls = [target.call(b"", timeout_ms=5_000) for _ in range(4)]
    await until(lambda: len(server.requests) == 4)
    release.set()
    await asyncio.gather(*calls)
    await until(lambda: client.counters.connections_open == 1)


async def test_an_idle_connection_makes_room_for_another_origin(serve, make_client):
    """The common limit holds over all origins, and idle connections give way."""
    client = make_client(limits=HttpLimits(max_connections_total=2, idle_timeout=timedelta(minutes=1)))
    servers = [await hold(serve) for _ in range(4)]
    for server, release in servers:
        release.set()
        assert (await client.request("POST", server.url, timeout=timedelta(seconds=2))).status == 200
        assert client.counters.connections_open <= 3  # the one being closed included
    await until(lambda: client.counters.connections_open == 2)


async def test_calls_wait_for_the_common_limit_across_origins(serve, make_client):
    """A call to a second origin waits until a connection of the first is free, and then goes out."""
    client = make_client(limits=HttpLimits(max_connections_total=1))
    (first, release_first), (second, release_second) = await hold(serve), await hold(serve)
    release_second.set()
    calls = [client.target(server.url).call(b"", timeout_ms=5_000) for server in (first, second)]
    await until(lambda: first.requests)
    assert not second.requests
    release_first.set()
    assert [(await call).status for call in calls] == [200, 200]


async def test_close_ends_idle_at_once_fails_waiting_and_lets_calls_under_way_finish(serve, make_client):
    """Each call in each state gets the outcome that is true for it."""
    client = make_client(limits=HttpLimits(max_connections=1))
    server, release = await hold(serve)
    target = client.target(server.url)
    under_way, waiting = target.call(b"1", timeout_ms=5_000), target.call(b"2", timeout_ms=5_000)
    await until(lambda: server.requests)
    closing = asyncio.create_task(client.aclose(timedelta(seconds=5)))
    with pytest.raises(ClientClosed) as caught:
        await waiting
    assert caught.value.safety is Safety.NOT_SENT
    assert not closing.done()
    release.set()
    assert (await under_way).status == 200
    await closing
    with pytest.raises(ClientClosed) as caught:
        await target.call(b"3", timeout_ms=5_000)
    assert caught.value.safety is Safety.NOT_SENT
    with pytest.raises(ClientClosed):
        await client.request("POST", server.url)
    assert server.requests == [b"1"]


async def test_close_gives_calls_under_way_no_longer_than_asked(serve, make_client):
    """After the wait they fail as UNKNOWN, for they were sent."""
    client = make_client()
    server, _ = await hold(serve)
    call = client.target(server.url).call(b"1", timeout_ms=60_000)
    await until(lambda: server.requests)
    await client.aclose(timedelta(milliseconds=30))
    with pytest.raises(ClientClosed) as caught:
        await call
    assert caught.value.safety is Safety.UNKNOWN


async def test_an_origin_that_is_done_with_is_forgotten(serve, make_client):
    """A client that called many origins keeps nothing of those without connections."""
    client = make_client(limits=HttpLimits(idle_timeout=timedelta(milliseconds=30)))
    server, release = await hold(serve)
    release.set()
    await client.request("POST", server.url)
    await until(lambda: not len(client._pools) and not client._census.pools)
    await until(lambda: not client.counters.connections_open)


async def test_close_does_not_wait_for_an_origin_that_is_being_forgotten(serve, make_client):
    """A pool that nobody holds any more, whose last connection is still being closed, is heard of all the same."""
    client = make_client(limits=HttpLimits(idle_timeout=timedelta(milliseconds=30)))
    server, release = await hold(serve)
    release.set()
    await client.request("POST", server.url)
    while client._census.pools:  # noqa: ASYNC110 - the very turn of the loop in which it is let go of
        await asyncio.sleep(0)
    started = asyncio.get_running_loop().time()
    await client.aclose(timedelta(seconds=20))
    assert asyncio.get_running_loop().time() - started < 10
    assert client.counters.connections_open == 0


async def test_a_target_that_could_not_be_made_is_in_nobodys_way(serve, client):
    """Asked for in a thread without a loop it fails, and its error is kept: the origin is called all the same."""
    server, release = await hold(serve)
    release.set()
    with pytest.raises(RuntimeError, match="no running event loop") as kept:
        await asyncio.to_thread(client.target, server.url)
    assert (await client.request("POST", server.url)).status == 200
    assert kept.value.__traceback__ is not None


async def test_a_completion_gets_the_outcome_without_a_future(serve, client):
    """The hot caller's own object is told once, and a fault in it goes to the loop, not to another call."""
    server, release = await hold(serve)
    release.set()
    faults, outcomes = [], []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context["exception"]))

    class Mine:
        def done(self):
            return False

        def set_result(self, answer):
            outcomes.append(answer.status)
            raise ZeroDivisionError

        def set_exception(self, error):
            outcomes.append(error)

    target = client.target(server.url)
    for count in (1, 2):
        target.send(b"", timeout_ms=5_000, completion=Mine())
        await until(lambda: len(outcomes) == count)  # noqa: B023 - awaited within the turn
    assert (outcomes, [type(fault) for fault in faults]) == ([200, 200], [ZeroDivisionError] * 2)
    assert server.connections == 1


async def test_counters_add_up(serve, make_client):
    """calls = replies + failures + cancelled, once all have ended."""
    client = make_client(limits=HttpLimits(max_connections=2, max_waiting_calls=1))
    server, release = await hold(serve)
    target = client.target(server.url)
    calls = [target.call(b"", timeout_ms=5_000) for _ in range(5)]
    await until(lambda: len(server.requests) == 2)
    calls[2].cancel()
    release.set()
    await asyncio.gather(*calls, return_exceptions=True)
    counters = client.counters
    assert (counters.calls, counters.replies, counters.cancelled) == (5, 2, 1)
    assert counters.failures == {"limit_reached": 2}
