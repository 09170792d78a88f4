"""What may be a service, what is refused, and what mypy makes of it."""

import abc
import subprocess
import sys
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from placet_contract.service import method, service
from placet_rpc import CallRefused
from placet_rpc.client import Client
from placet_rpc.codecs import find_codecs
from placet_rpc.contract import service_of
from placet_rpc.server import Server
from placet_rpc.sync_client import SyncClient

ROOT = Path(__file__).parents[3]


class Opaque:
    """A type that no codec knows."""


@service("sums")
class Sums(abc.ABC):
    """An ABC as an interface."""

    @method(timeout=timedelta(seconds=2), idempotent=True)
    @abc.abstractmethod
    async def add(self, a: int, b: int = 0) -> int:
        """Adds."""


@service("sums")
class BlockingSums(Protocol):
    """The same service for callers without a loop."""

    def add(self, a: int, b: int = 0) -> int:
        """Adds."""


class SumsByHand(Sums):
    """An implementation."""

    async def add(self, a: int, b: int = 0) -> int:
        """Adds."""
        return a + b


def test_both_declarations_are_one_contract():
    """The contract's hash ignores async, and tells other signatures apart."""

    @service("sums")
    class Other(Protocol):
        async def add(self, a: int, b: str = "") -> int: ...

    assert service_of(Sums).contract_hash == service_of(BlockingSums).contract_hash
    assert service_of(Sums).contract_hash != service_of(Other).contract_hash
    assert service_of(Sums).methods["add"].options.timeout_ms == 2000


def interface(**functions):
    return service("odd")(type("Odd", (), functions))


async def _untyped(self, a) -> None: ...
async def _silent(self, a: int): ...
async def _starred(self, *a: int) -> None: ...
async def _opaque(self, a: Opaque) -> None: ...
async def _opaque_within(self) -> dict[str, list[Opaque]]: ...


@method(order_by="b")
async def _misordered(self, a: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "rule"),
    [
        (_untyped, "parameter 'a' needs a type"),
        (_silent, "say what it returns"),
        (_starred, "take no *"),
        (_opaque, "Opaque can't travel"),
        (_opaque_within, "Opaque can't travel"),
        (_misordered, "order_by names 'b'"),
    ],
)
def test_what_can_not_travel_is_an_error_when_declared(function, rule):
    """The message names the method and the rule."""
    with pytest.raises(TypeError) as error:
        service_of(interface(call=function))
    assert rule in str(error.value)
    assert "Odd." in str(error.value)


def test_what_is_no_service_is_refused():
    """An undecorated class, a class without methods, a bad name."""
    with pytest.raises(TypeError, match="decorate it"):
        service_of(Opaque)
    with pytest.raises(TypeError, match="no public method"):
        service_of(interface())
    with pytest.raises(ValueError, match="no name"):
        service("a/b")
    with pytest.raises(ValueError, match="millisecond"):
        method(timeout=timedelta())


def test_an_implementation_must_fit_its_interface():
    """A missing method, other parameters, a second implementation."""

    class Lacking:
        pass

    class Differing:
        async def add(self, a: int) -> int: ...

    server = Server()
    for implementation in (Lacking(), Differing()):
        with pytest.raises(TypeError, match="add"):
            server.expose(Sums)(implementation)
    server.expose(Sums)(SumsByHand())
    with pytest.raises(ValueError, match="exposed already"):
        server.expose(Sums)(SumsByHand())


def test_codecs_come_from_an_allow_list():
    """By name, the built-in ones or an installed package's; what nobody offers is an error."""
    assert [codec.name for codec in find_codecs(["json", "msgpack"])] == ["json", "msgpack"]
    with pytest.raises(ValueError, match="nothing offers 'pickle'"):
        find_codecs(["pickle"])


async def test_the_first_codec_that_both_allow_is_used():
    """HELLO names the codecs; without a common one the call is refused, not executed."""
    server = Server(tcp="127.0.0.1:0", codecs=["json"])
    server.expose(Sums)(SumsByHand())
    async with server:
        async with Client(server.endpoint) as client:
            assert await client.reference(Sums).add(1, b=2) == 3
        async with Client(server.endpoint, codecs=["msgpack"]) as client:
            with pytest.raises(Exception, match="the server takes json, this client msgpack") as refused:
                await client.reference(Sums).add(1)
            assert refused.value.safety.repeatable


async def test_a_differing_contract_is_named_where_it_may_be_the_cause_and_nowhere_else():
    """Two versions work together until one lacks what the other needs; that error says that there are two."""

    @service("sums")
    class Later(Protocol):
        async def add(self, a: int, b: int = 0, c: int = 0) -> int: ...

        async def multiply(self, a: int) -> int: ...

    server = Server(tcp="127.0.0.1:0")
    server.expose(Sums)(SumsByHand())
    async with server, Client(server.endpoint) as client:
        later, same = client.reference(Later), client.reference(Sums)
        assert await later.add(1, 2) == 3
        for call in (later.add(1, c=5), later.multiply(2)):
            with pytest.raises(CallRefused, match="built from different versions"):
                await call
        with pytest.raises(CallRefused) as refused:
            await same.add("one")
        assert "versions" not in str(refused.value)


async def test_blocking_callers_share_one_background_loop():
    """Threads call through one SyncClient; each kind of client refuses the other's declaration."""
    import asyncio  # noqa: PLC0415 - the only test here that needs it

    server = Server(tcp="127.0.0.1:0")
    server.expose(Sums)(SumsByHand())
    async with server:
        with SyncClient(server.endpoint, app="batch") as client:
            sums = client.reference(BlockingSums)
            assert await asyncio.gather(*(asyncio.to_thread(sums.add, n, 1) for n in range(20))) == list(range(1, 21))
            with pytest.raises(TypeError, match="async def"):
                client.reference(Sums)
            with pytest.raises(RuntimeError, match="would block this event loop"):
                sums.add(1)
            await asyncio.to_thread(client.close)
        async with Client(server.endpoint) as client:
            with pytest.raises(TypeError, match="plain def"):
                client.reference(BlockingSums)


def test_mypy_sees_interfaces_through_proxies_and_expose(tmp_path):
    """Strict mypy types a proxy as its interface, ABC or Protocol, and tells right implementations from wrong ones."""
    (tmp_path / "usage.py").write_text(
        textwrap.dedent("""
        import abc
        from typing import Protocol
        from placet_contract.service import method, service
        from placet_rpc.client import Client
        from placet_rpc.server import Server

        @service("stock")
        class Stock(Protocol):
            @method(idempotent=True)
            async def reserve(self, sku: str, count: int) -> int: ...

        @service("sums")
        class Sums(abc.ABC):
            @abc.abstractmethod
            async def add(self, a: int) -> int: ...

        class Right:
            async def reserve(self, sku: str, count: int) -> int:
                return count

        class Wrong:
            async def reserve(self, sku: str) -> str:
                return sku

        async def use(client: Client, server: Server) -> None:
            number: int = await client.reference(Stock).reserve("A1", 2)
            other: int = await client.reference(Sums).add(number)
            server.expose(Stock)(Right())
            server.expose(Stock)(Wrong())  # wrong implementation
            await client.reference(Stock).reserve(other, 2)  # wrong argument
        """)
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    path = {"MYPYPATH": f"{ROOT}/rpc:{ROOT}/contract"}
    command += ["--explicit-package-bases", "usage.py"]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=path, capture_output=True, text=True)
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    source = (tmp_path / "usage.py").read_text().splitlines()
    assert len(errors) == 2, done.stdout + done.stderr
    assert ["# wrong" in source[int(line.split(":")[1]) - 1] for line in errors] == [True, True]
