"""Parts that installed packages offer: found by name, refused where two offer one or the version is another."""

from importlib.metadata import EntryPoint

import pytest

from placet_contract.service import service
from placet_rpc import extension
from placet_rpc.client import TRANSPORTS, Client

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
    ]
    monkeypatch.setattr(extension, "entry_points", lambda group: [e for e in entries if e.group == group])


async def test_a_package_brings_a_transport(offered):
    """A scheme that no built-in transport has is looked up, used and closed."""
    async with Client("echo://there", app="order") as client:
        assert await client.reference(Words).say("hello") == "echo://there: hello, order"
    assert client.transports._others["echo://there"].closed


@pytest.mark.parametrize(
    ("scheme", "rule"),
    [("nobody", "nothing offers 'nobody'"), ("old", "SPI version 0"), ("twice", "uninstall all but one")],
)
async def test_what_can_not_be_chosen_is_an_error(scheme, rule, offered):
    """The message says what is offered, or by whom."""
    with pytest.raises(ValueError, match=rule):
        Client(f"{scheme}://there")
