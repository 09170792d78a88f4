"""All that guards a service at once, over TCP with TLS, through a client's whole chain."""

import asyncio
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import pytest

from certificates import URI
from placet_contract.service import method, service
from placet_rpc.client import Client
from placet_rpc.context import call_options, current_call
from placet_rpc.errors import CallRefused, KeyReused
from placet_rpc.filters import Seams
from placet_rpc.governance.access import Access, AccessList, AccessRule
from placet_rpc.governance.authentication import Authentication, CertificateProver, Signing, TokenProver
from placet_rpc.governance.counting import CallStatistics
from placet_rpc.governance.statistics import Statistics
from placet_rpc.governance.tokens import TokenSigner, TokenVerifier
from placet_rpc.governance.trace import TraceContext, Tracing
from placet_rpc.idempotency import Idempotency, MemoryRequests
from placet_rpc.ordering import OrderedCalls, OrderedServing
from placet_rpc.server import Server
from placet_rpc.tcp import client_tls, server_tls

SECRET = "a secret of thirty-two bytes or so, for tests"


@service("ledger")
class Ledger(Protocol):
    """What is guarded."""

    @method(order_by="account")
    async def book(self, account: str, cents: int) -> list[int]: ...

    async def trace(self, depth: int) -> list[str]: ...

    async def drop(self) -> None: ...


class LedgerHere:
    """The implementation; `trace` calls itself over the network."""

    def __init__(self):
        self.booked = []
        self.inner = None

    async def book(self, account: str, cents: int) -> list[int]:
        before = len(self.booked)
        await asyncio.sleep(0.002)
        assert len(self.booked) == before  # nobody else of this account was let in
        self.booked.append(cents)
        return self.booked

    async def trace(self, depth: int) -> list[str]:
        inner = await self.inner.trace(depth - 1) if depth else []
        return [current_call().traceparent, *inner]

    async def drop(self) -> None:
        raise AssertionError("nobody may")


class Guarded:
    """A server with everything before it, and its clients."""

    def __init__(self, certificates, registry, prover):
        self.certificates, self.registry = certificates, registry
        self.ledger = LedgerHere()
        self.server = Server(
            tcp="127.0.0.1:0",
            tls=server_tls(
                certificate=certificates / "server.pem",
                key=certificates / "server.key",
                clients=certificates / "authority.pem",
            ),
            registry=registry,
            instance_id="ledger-1",
            filters=[
                Authentication([prover]),
                Access(AccessList([AccessRule("ledger/1.drop", ()), AccessRule("ledger/*", ("app:order",))])),
                Idempotency(MemoryRequests()),
                OrderedServing(),
            ],
        )
        self.server.expose(Ledger)(self.ledger)
        self.statistics = Statistics()

    def client(self, **options):
        """A client that shows the certificate of `order`."""
        tls = client_tls(
            authority=self.certificates / "authority.pem",
            certificate=self.certificates / "client.pem",
            key=self.certificates / "client.key",
        )
        return Client(registry=self.registry, app="order", tls=tls, timeout=timedelta(seconds=20), **options)

    def seams(self, *attempts):
        return Seams(
            statistics=(CallStatistics(self.statistics), Tracing(sampled=True)),
            ordering=(OrderedCalls(max_in_flight=4),),
            attempts=attempts,
        )


@pytest.fixture
async def guarded(certificates):
    """A server with everything before it."""
    guarded = Guarded(certificates, f"memory:{uuid4().hex}", CertificateProver({URI: "order"}))
    async with guarded.server, guarded.client(seams=guarded.seams()) as inner:
        guarded.ledger.inner = inner.reference(Ledger)
        yield guarded


async def test_order_and_idempotency_hold_together_over_tls(guarded):
    """Calls sent at once run in their order, repeats get the first answer, and another request may not have the key."""
    async with guarded.client(seams=guarded.seams()) as client:
        ledger = client.reference(Ledger)

        async def book(cents):
            with call_options(idempotency_key=f"booking-{cents}"):
                return await ledger.book("a", cents)

        answers = await asyncio.gather(*(book(cents) for cents in range(20)))
        assert answers[-1] == list(range(20))
        assert await asyncio.gather(*(book(cents) for cents in range(20))) == answers
        assert guarded.ledger.booked == list(range(20))
        with call_options(idempotency_key="booking-3"), pytest.raises(KeyReused):
            await ledger.book("b", 3)
    (row,) = [row for row in guarded.statistics.states() if row.method == "book"]
    assert (row.calls, row.in_flight, row.errors) == (41, 0, {"key_reused": 1})


async def test_a_certificate_names_the_caller_and_the_list_decides(guarded):
    """Who shows the certificate may book, and nobody may drop."""
    async with guarded.client(seams=guarded.seams()) as client:
        ledger = client.reference(Ledger)
        await ledger.book("a", 1)
        with pytest.raises(CallRefused, match=r"ledger/1.drop is not for placet://order, app:order"):
            await ledger.drop()
    served = guarded.server.statistics.row("order", "ledger/1", "drop", "ledger-1").state()
    assert served.errors == {"forbidden": 1}


@pytest.mark.parametrize("is_bound", [False, True])
async def test_a_token_proves_the_caller_and_a_name_alone_does_not(certificates, is_bound):
    """Signed requests pass, bound to the instance that the registry lists or not; unsigned ones don't."""
    verifier = TokenVerifier({"k1": SECRET}, instance="ledger-1", bound_only=is_bound)
    guarded = Guarded(certificates, f"memory:{uuid4().hex}", TokenProver(verifier))
    signing = Signing(TokenSigner("order", key_id="k1", secret=SECRET), is_bound=is_bound)
    async with guarded.server, guarded.client(seams=guarded.seams(signing)) as client:
        assert await client.reference(Ledger).book("a", 1) == [1]
        async with guarded.client(seams=guarded.seams()) as unsigned:
            with pytest.raises(CallRefused, match="wants to know who calls"):
                await unsigned.reference(Ledger).book("a", 2)


async def test_a_trace_goes_through_all_calls_that_one_causes(guarded):
    """One id for all of them, a span for each."""
    async with guarded.client(seams=guarded.seams()) as client:
        contexts = [TraceContext.parse(text) for text in await client.reference(Ledger).trace(3)]
    assert len({context.trace_id for context in contexts}) == 1
    assert len({context.span_id for context in contexts}) == 4
    assert {context.flags for context in contexts} == {1}
