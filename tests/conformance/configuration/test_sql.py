"""The table of revisions: who published what, and who was too late."""

import asyncio

import pytest

from conformance.configuration.kinds import KINDS
from placet_rpc.configuration import sql
from placet_rpc.configuration.sql import ConfigurationConflict


@pytest.fixture(params=["sqlite", "postgres", "mariadb", "postgres-sync"])
async def kind(request):
    """The sources in SQL."""
    make, server = KINDS[request.param]
    kind = make(request.getfixturevalue(server))
    await kind.prepare()
    yield kind
    await kind.clear()


async def test_the_table_says_who_changed_what_and_why(source):
    """One row per revision, the differences from the one before it in words."""
    await source.publish('{"services": {"stock/1": {"attempts": 2}}}', changed_by="Zoë", reason="a try")
    await source.publish('{"services": {"stock/1": {"attempts": 1}}, "reason": "worse"}', changed_by="ben")
    last, first = await source.history()
    assert (first.revision.partition("-")[0], first.changed_by, first.reason) == ("1", "Zoë", "a try")
    assert first.differences == ("services.stock/1.attempts: (nothing) → 2",)
    assert (last.revision.partition("-")[0], last.changed_by, last.reason) == ("2", "ben", "worse")
    assert last.differences == ("services.stock/1.attempts: 2 → 1",)
    assert last.changed_at_ms >= first.changed_at_ms
    assert await source.history(1) == [last]
    assert (await source.read()).revision == last.revision


async def test_what_everybody_would_refuse_is_not_published(source):
    """The check stands before the table too, and a change needs a name."""
    with pytest.raises(ValueError, match="unknown field"):
        await source.publish('{"atempts": 2}', changed_by="ana")
    with pytest.raises(ValueError, match="who publishes"):
        await source.publish("{}", changed_by="")
    assert await source.read() is None


async def test_of_two_who_changed_the_same_revision_one_is_told(source, open_more):
    """What the other one published is not overwritten unseen."""
    first = await source.publish('{"reason": "a"}', changed_by="ana", based_on="")
    second = await source.publish('{"reason": "b"}', changed_by="ana", based_on=first)
    with pytest.raises(ConfigurationConflict, match="revision 2"):
        await source.publish('{"reason": "c"}', changed_by="ben", based_on=first)
    others = [await open_more() for _ in range(6)]
    published = [other.publish('{"reason": "d"}', changed_by="x", based_on=second) for other in others]
    answers = await asyncio.gather(*published, return_exceptions=True)
    (published,) = [answer for answer in answers if not isinstance(answer, ConfigurationConflict)]
    assert published.startswith("3-")


async def test_the_past_has_a_limit(source, monkeypatch):
    """The oldest revisions go when a new one comes."""
    monkeypatch.setattr(sql, "REVISIONS_MAX", 3)
    for number in range(6):
        await source.publish(f'{{"reason": "{number}"}}', changed_by="ana")
    assert [one.reason for one in await source.history()] == ["5", "4", "3"]
