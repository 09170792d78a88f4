"""Sources of installed packages are found like those of this one."""

from importlib.metadata import EntryPoint

import pytest

from placet_rpc import extension
from placet_rpc.configuration import CONFIGURATIONS, LiveConfiguration, Stored, open_source
from placet_rpc.governance.access import AccessList

HERE = "unit.rpc.configuration.test_opening"


class Fixed:
    """A source of an installed package: says what stands in its URL."""

    spi_version = 1

    def __init__(self, url, context):
        self.document, self.context = url.partition(":")[2].encode(), context

    async def read(self):
        return Stored("1", self.document)

    async def watch(self):
        while True:
            yield await self.read()
            await self.context.clock.sleep(1)

    async def aclose(self):
        pass


class Old(Fixed):
    """One for another version of the interface."""

    spi_version = 0


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Two installed packages."""

    def entries(*, group):
        names = {"fixed": "Fixed", "old": "Old"} if group == CONFIGURATIONS else {}
        return [EntryPoint(name, f"{HERE}:{value}", group) for name, value in names.items()]

    monkeypatch.setattr(extension, "entry_points", entries)


async def test_a_source_of_an_installed_package_is_followed(clock):
    """By the scheme of its URL, with the clock of whoever follows it."""
    rules = AccessList()
    async with LiveConfiguration('fixed:{"access": [{"methods": "a/*"}]}', access=rules, clock=clock) as live:
        assert (live.revision, [rule.methods for rule in rules.rules]) == ("1", ["a/*"])


async def test_a_source_for_another_version_is_refused():
    """It names the kind, the package and both versions."""
    with pytest.raises(ValueError, match="for SPI version 0, this is 1"):
        open_source("old:x")
