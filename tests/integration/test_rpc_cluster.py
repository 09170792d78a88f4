"""Calls to several real servers over TCP while they are restarted, killed, slow, or hang."""

import asyncio
import contextlib
import itertools
import signal
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from integration import rpc_child
from integration.rpc_child import Where
from placet_rpc import BreakerOpen, RpcError
from placet_rpc.client import Client
from placet_rpc.context import call_options
from placet_rpc.policies.breaker import BreakerLimits
from placet_rpc.server import Server

CALLERS = 16
CALLS_BETWEEN = 300


class Child:
    """A server in a process of its own."""

    def __init__(self, name: str, file: Path) -> None:
        self.name, self.file = name, file
        self.port = 0

    async def start(self) -> None:
        """Starts it, the next time on the same port."""
        arguments = [rpc_child.__file__, str(self.port), self.name, str(self.file)]
        self.process = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
        self.port = int(await self.process.stdout.readline())

    async def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Lets it end."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(how)
        await self.process.wait()


@pytest.fixture
async def children(tmp_path):
    """Three servers."""
    children = [Child(name, tmp_path / "written") for name in "abc"]
    await asyncio.gather(*(child.start() for child in children))
    yield children
    await asyncio.gather(*(child.end(signal.SIGKILL) for child in children))


class Load:
    """Callers that call all the time, and what came of it."""

    def __init__(self, call) -> None:
        self.answered: Counter[str] = Counter()
        self.failed: list[RpcError] = []
        self.made: list[int] = []
        self._call = call
        self._numbers = itertools.count()
        self._more = asyncio.Event()

    async def __aenter__(self):
        self._tasks = [asyncio.ensure_future(self._go_on()) for _ in range(CALLERS)]
        return self

    async def __aexit__(self, *_):
        for task in self._tasks:
            task.cancel()
        outcomes = await asyncio.gather(*self._tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes

    async def more(self, *names: str) -> None:
        """Waits for some hundred more answers, and one of each of these servers."""
        target, before = len(self.made) + CALLS_BETWEEN, self.answered.copy()
        while len(self.made) < target or not all(self.answered[name] > before[name] for name in names):
            self._more.clear()
            await self._more.wait()

    async def _go_on(self) -> None:
        while True:
            number = next(self._numbers)
            try:
                name = await asyncio.shield(self._one(number))
            except RpcError as error:
                self.failed.append(error)
            else:
                self.answered[name] += 1
            self._more.set()

    async def _one(self, number: int) -> str:
        self.made.append(number)
        return await self._call(number)


async def client_of(children, stack, **options):
    """A client of the servers."""
    client = Client([f"tcp://127.0.0.1:{child.port}" for child in children], app="load", **options)
    return await stack.enter_async_context(client)


async def test_a_rolling_restart_under_load_fails_no_call(children):
    """Three servers are drained, ended and started again in turn; idempotent or not, every call has its answer."""
    async with contextlib.AsyncExitStack() as stack:
        where = (await client_of(children, stack)).reference(Where)
        reads = await stack.enter_async_context(Load(where.am_i))
        writes = await stack.enter_async_context(Load(where.write))
        for child in children:
            await reads.more("a", "b", "c")
            await child.end()
            await reads.more()
            await child.start()
        await reads.more("a", "b", "c")
        await writes.more("a", "b", "c")
    assert (reads.failed, writes.failed) == ([], [])


async def test_what_is_not_idempotent_runs_once_through_restarts(children):
    """Each call that was answered left one line, and no call two."""
    async with contextlib.AsyncExitStack() as stack:
        where = (await client_of(children, stack)).reference(Where)
        writes = await stack.enter_async_context(Load(where.write))
        for child in children[:2]:
            await writes.more()
            await child.end()
            await child.start()
        await writes.more("a", "b", "c")
    await asyncio.sleep(0.05)  # for those that were under way when the load ended; the claim does not rest on it
    lines = Counter(children[0].file.read_text().split())
    assert max(lines.values()) == 1
    assert sum(lines.values()) >= sum(writes.answered.values())
    assert writes.failed == []


async def test_a_killed_server_fails_no_idempotent_call(children):
    """What was under way there is repeated elsewhere; when it is back it has its share again."""
    async with contextlib.AsyncExitStack() as stack:
        where = (await client_of(children, stack)).reference(Where)
        reads = await stack.enter_async_context(Load(where.am_i))
        await reads.more("a", "b", "c")
        await children[0].end(signal.SIGKILL)
        await reads.more("b", "c")
        await children[0].start()
        await reads.more("a", "b", "c")
    assert reads.failed == []


# -- servers in this process, to look into ----------------------------------------------------------------------


class Moody:
    """A server that hangs when it is told to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hangs = False
        self.fails = False
        self.began = 0
        self.cancelled = asyncio.Event()

    async def am_i(self, number: int) -> str:
        self.began += 1
        if self.fails:
            raise KeyError("no part of the contract")
        if self.hangs:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        return self.name

    async def write(self, number: int) -> str:
        return await self.am_i(number)


@pytest.fixture
async def moody():
    """Two servers, and the client's URLs of them."""
    async with contextlib.AsyncExitStack() as stack:
        servers = []
        for name in "ab":
            implementation = Moody(name)
            server = Server(tcp="127.0.0.1:0", instance_id=name)
            server.expose(Where)(implementation)
            await server.start()
            stack.push_async_callback(server.aclose, linger=timedelta(), grace=timedelta())
            implementation.url = server.endpoint
            servers.append(implementation)
        yield servers


async def test_a_hedge_answers_and_the_loser_is_cancelled_at_its_server(moody):
    """The server that hangs sees CANCEL as soon as the other has answered."""
    async with Client([server.url for server in moody]) as client:
        where = client.reference(Where, methods={"am_i": {"cluster": "hedging?delay_ms=50", "balancer": "round_robin"}})
        for number in range(100):  # for a budget of ten copies
            await where.am_i(number)
        moody[0].hangs = True
        assert [await where.am_i(number) for number in range(2)] == ["b", "b"]
        await moody[0].cancelled.wait()


async def test_forking_cancels_the_slower_copy_at_its_server(moody):
    """Both are asked at once."""
    moody[1].hangs = True
    async with Client([server.url for server in moody]) as client:
        where = client.reference(Where, methods={"am_i": {"cluster": "forking"}})
        assert await where.am_i(1) == "a"
        await moody[1].cancelled.wait()


async def outcome_of(where: Where):
    """Returns the answer of a call, or the type of its error."""
    with call_options(timeout=timedelta(milliseconds=300)):
        try:
            return await where.write(1)
        except RpcError as error:
            return type(error)


async def probe(where, moody, *, gives_up: bool) -> None:
    """Calls until a probe has reached a server, and waits until it has ended without an answer."""
    began = sum(server.began for server in moody)
    while sum(server.began for server in moody) == began:
        probes = [asyncio.ensure_future(outcome_of(where)) for _ in range(3)]
        await asyncio.wait(probes, timeout=0.05)
        for each in probes if gives_up else ():
            each.cancel()
        await asyncio.wait(probes)


@pytest.mark.parametrize("gives_up", [True, False])
async def test_a_breaker_whose_probes_end_without_an_answer_closes_all_the_same(gives_up, moody):
    """Probes that their callers give up, or that hang, leave it half-open or open; a healed service closes it."""
    short = timedelta(milliseconds=50)
    limits = BreakerLimits(calls_min=4, open_first=short, open_cap=short, probes=2)
    async with Client([server.url for server in moody], ejection=None) as client:
        where = client.reference(Where, attempts=1, breaker=limits)
        for server in moody:
            server.fails = True
        while await outcome_of(where) is not BreakerOpen:
            pass
        for server in moody:
            server.fails, server.hangs = False, True
        for _ in range(5):
            await probe(where, moody, gives_up=gives_up)
        for server in moody:
            server.hangs = False
        answers = 0
        while answers < 3:
            answer = await outcome_of(where)
            assert answer in {"a", "b", BreakerOpen}
            answers += answer is not BreakerOpen
            await asyncio.sleep(0.001)
        assert await outcome_of(where) in {"a", "b"}
