"""Two real nodes on one PostgreSQL behind a balancer: a transaction's calls go to the node that began it."""

import asyncio
from contextlib import ExitStack

import pytest

from acceptance.participant import Participant
from acceptance.processes import Server
from placet import Client

from .conftest import over_http
from .proxy import Proxy


@pytest.fixture
def nodes(postgres_url, tmp_path):
    """The two nodes, serving."""
    with ExitStack() as stack:
        made = []
        for name in ("first", "second"):
            server = Server(postgres_url, tmp_path, PLACET_NODE_ID=name, PLACET_LEASE="2s")
            stack.callback(server.stop)
            made.append(server.run())
        yield made


@pytest.fixture
def participant():
    """A participant without the SDK."""
    with Participant() as serving:
        yield serving


async def order(placet, participant, *, in_between=None):
    async with placet.tcc("order") as tx:
        await tx.call(f"{participant.url}/hold")
        if in_between is not None:
            await asyncio.to_thread(in_between)
    return tx


async def test_commit_goes_to_the_node_that_began_and_to_another_when_that_is_dead(nodes, participant):
    """Known to answer, the node is asked directly; killed in between, it is left for the balancer's choice."""
    first, second = nodes
    async with Proxy(second.url) as balancer, Client(settings=over_http(balancer.url)) as placet:
        await order(placet, participant)
        await placet.coordinator._addresses._look
        asked = balancer.seen("/commit")
        tx = await order(placet, participant, in_between=lambda: balancer.pass_to(first.url))
        assert (tx.node, balancer.seen("/commit")) == ("second", asked)
        assert (await placet.wait(tx.gid)).status == "committed"

        balancer.pass_to(second.url)
        begun = await order(placet, participant, in_between=lambda: kill_and_fail_over(second, balancer, first))
        assert (begun.node, balancer.seen("/commit")) == ("second", asked + 1)
        assert (await placet.wait(begun.gid)).status == "committed"


def kill_and_fail_over(node, balancer, other):
    node.kill()
    balancer.pass_to(other.url)
