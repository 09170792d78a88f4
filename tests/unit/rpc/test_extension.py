"""Parts that installed packages offer: found by name, refused where two offer one or the version is another."""

from importlib.metadata import EntryPoint

import pytest

from placet_contract.service import service
from placet_rpc import extension
from placet_rpc.balancing import BALANCERS
from placet_rpc.client import Client
from placet_rpc.cluster import CLUSTERS
from placet_rpc.transports import TRANSPORTS

GROUP_HERE = "unit.rpc.test_extension"


class Echo:
    """A transport of an installed package: answers with the arguments."""

    spi_version = 1

    def __init__(self, to, **options):
        self.to, self.options, self.closed = to, options, False

    async def invoke(self, call):
        return f"{self.to}: {call.arguments.word}, {call.caller}"

    async def aclose(self, _wait):
        self.closed = True


class Old(Echo):
    """One for another version of the interface."""

    spi_version = 0


class Last:
    """A balancer of an installed package: takes the last instance."""

    spi_version = 1

    def __init__(self, _clock, _chance, *, but="0"):
        self.but = int(but)

    def prepare(self, candidates):
        pass

    def pick(self, candidates, _call, excluded):
        return [member for member in candidates.members if member not in excluded][-1 - self.but]


class Twice:
    """A cluster strategy of an installed package: asks two instances, one after the other."""

    spi_version = 1

    def __init__(self, _context):
        pass

    def check(self, method):
        pass

    async def invoke(self, call, targets):
        first = targets.choose(call)
        second = targets.choose(call, {first})
        answers = [await targets.attempt(call, member, 1, call.timeout_ms) for member in (first, second)]
        return " and ".join(answer.partition(":")[2] for answer in answers)


@service("words")
class Words:
    """A service."""

    async def say(self, word: str) -> str: ...


@pytest.fixture
def offered(monkeypatch):
    """Entry points as installed packages would bring them."""
    entries = [
        EntryPoint("echo", f"{GROUP_HERE}:Echo", TRANSPORTS),
        EntryPoint("old", f"{GROUP_HERE}:Old", TRANSPORTS),
        EntryPoint("twice", f"{GROUP_HERE}:Echo", TRANSPORTS),
        EntryPoint("twice", f"{GROUP_HERE}:Old", TRANSPORTS),
        EntryPoint("last", f"{GROUP_HERE}:Last", BALANCERS),
        EntryPoint("in-turn", f"{GROUP_HERE}:Twice", CLUSTERS),
    ]
    monkeypatch.setattr(extension, "entry_points", lambda group: [e for e in entries if e.group == group])


async def test_a_package_brings_a_transport(offered):
    """A scheme that no built-in transport has is looked up, used and closed."""
    async with Client("echo://there", app="order") as client:
        assert await client.reference(Words).say("hello") == "echo://there: hello, order"
    assert client.transports._others["echo://there"].closed


async def test_a_package_brings_a_balancer_with_options_and_a_strategy(offered):
    """Chosen by name like those that are built in."""
    urls = ["echo://a", "echo://b", "echo://c"]
    async with Client(urls, app="order", settings={"balancer": "last?but=1"}) as client:
        assert await client.reference(Words).say("x") == "echo://b: x, order"
        words = client.reference(Words, cluster="in-turn", balancer="last")
        assert await words.say("x") == "//c: x, order and //b: x, order"


@pytest.mark.parametrize(
    ("scheme", "rule"),
    [("nobody", "nothing offers 'nobody'"), ("old", "SPI version 0"), ("twice", "uninstall all but one")],
)
async def test_what_can_not_be_chosen_is_an_error(scheme, rule, offered):
    """The message says what is offered, or by whom."""
    with pytest.raises(ValueError, match=rule):
        Client(f"{scheme}://there")
