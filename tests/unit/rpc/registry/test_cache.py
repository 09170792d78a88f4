"""What the cache makes of a registry's life, in virtual time."""

import asyncio
from datetime import timedelta

import pytest

from placet_rpc.registry import RegistryRefused
from unit.rpc.registry.conftest import shown


@pytest.fixture
async def followed(make_cache, registry):
    """A follower that has heard of four instances."""
    registry.say("abcd")
    follower = await make_cache().follow("stock/1")
    await follower.known.wait()
    return follower


async def test_the_last_word_stands_while_the_registry_is_down(followed, registry, living):
    """Ten minutes without a registry change nothing, nobody is probed, and the age of the word is known."""
    registry.go_down()
    await asyncio.sleep(600)
    assert shown(followed.snapshot) == "abcd"
    assert living.asked == []
    assert followed.outages == 1
    assert followed.trouble == "it is down"
    assert 590 < asyncio.get_running_loop().time() - followed.confirmed_at <= 600


async def test_new_instances_are_shown_soon_after_the_registry_is_back(followed, registry):
    """A watch is begun again within the cap of its backoff."""
    registry.go_down()
    await asyncio.sleep(600)
    registry.come_back()
    registry.say("abcde")
    await asyncio.sleep(5)
    assert shown(followed.snapshot) == "abcde"
    assert (followed.failures, followed.trouble) == (0, "")


async def test_watches_of_many_clients_do_not_march_in_step(make_cache, registry):
    """A registry that is back is not met by all at once: no two of twenty waits are the same."""
    registry.go_down()
    cache = make_cache()
    for number in range(20):
        await cache.follow(f"stock/{number}")
    started = registry.watches
    times = set()
    for _ in range(3000):
        await asyncio.sleep(0.01)
        if registry.watches > started:
            times.add(asyncio.get_running_loop().time())
            started = registry.watches
    assert len(times) > 100


async def test_a_silent_watch_is_begun_again(followed, registry):
    """A registry that neither answers nor fails is asked anew after a while."""
    registry.silent = True
    await asyncio.sleep(6)
    assert registry.watches == 1
    await asyncio.sleep(30)
    assert registry.watches > 1
    assert followed.outages >= 1
    assert "has said nothing" in followed.trouble or followed.failures == 0


async def test_an_older_revision_is_not_believed(followed, registry):
    """A push that was overtaken changes nothing; after a new epoch any revision counts."""
    registry.say("ab", revision=1)
    await asyncio.sleep(1)
    assert shown(followed.snapshot) == "abcd"
    assert followed.stale_pushes >= 1
    registry.say("abc", revision=1, epoch="two")
    await asyncio.sleep(1)
    assert shown(followed.snapshot) == "abc"


async def test_revisions_shown_grow_and_an_unchanged_word_is_the_same_snapshot(followed, registry):
    """What is computed from a snapshot may be kept as long as the object is the same."""
    first = followed.snapshot
    await asyncio.sleep(60)
    assert followed.snapshot is first
    registry.say("abcde")
    await asyncio.sleep(1)
    assert followed.snapshot.revision > first.revision


async def test_an_emptied_registry_is_doubted_for_a_minute(followed, registry, living):
    """Instances that answer are kept for the hold, half their weight is the directory's business; then it is obeyed."""
    living.names = "abcd"
    registry.say("")
    await asyncio.sleep(1)
    assert shown(followed.snapshot) == "ABCD"
    await asyncio.sleep(57)
    assert shown(followed.snapshot) == "ABCD"
    await asyncio.sleep(5)
    assert shown(followed.snapshot) == ""


async def test_instances_that_do_not_answer_are_not_kept(followed, registry, living):
    """Two probes missed are enough, whatever the hold."""
    living.names = "a"
    registry.say("")
    await asyncio.sleep(4)
    assert shown(followed.snapshot) == "A"


async def test_re_registered_instances_end_the_doubt(followed, registry, living):
    """A registry that lost its memory is filled again by the servers, and no caller ever sees fewer instances."""
    living.names = "abcd"
    registry.say("", revision=0, epoch="two")
    for names, expected in (("a", "aBCD"), ("ab", "abCD"), ("abc", "abcD"), ("abcd", "abcd")):
        registry.say(names, epoch="two")
        await asyncio.sleep(1)
        assert shown(followed.snapshot) == expected
    await asyncio.sleep(2)
    asked = len(living.asked)
    await asyncio.sleep(60)
    assert len(living.asked) == asked


async def test_a_probe_that_hangs_or_fails_is_an_answer_missed(make_cache, registry, living):
    """Whatever keeps an answer away, the instance did not answer; others are probed meanwhile."""

    async def probe(endpoint):
        if endpoint.instance_id == "b":
            await asyncio.Event().wait()
        if endpoint.instance_id == "c":
            raise OSError("no route")
        return True

    registry.say("abc")
    cache = make_cache()
    cache._probe = probe
    follower = await cache.follow("stock/1")
    await follower.known.wait()
    registry.say("")
    await asyncio.sleep(6)
    assert shown(follower.snapshot) == "A"


async def test_a_faulty_adapter_does_not_end_the_watch(followed, registry, caplog):
    """An exception that no registry should raise is logged, and the watch begun again."""
    registry.refuses = KeyError("a fault")
    await asyncio.sleep(10)
    registry.refuses = None
    registry.say("abcde")
    await asyncio.sleep(6)
    assert shown(followed.snapshot) == "abcde"
    assert "the watch of stock/1 failed" in caplog.text


async def test_a_refusal_is_told_in_words(make_cache, registry):
    """A registry that will not tell leaves the service unknown, and says why."""
    registry.refuses = RegistryRefused("who are you?")
    cache = make_cache()
    follower = await cache.follow("stock/1")
    await asyncio.sleep(1)
    assert cache.snapshot("stock/1") is None
    assert cache.trouble("stock/1") == follower.trouble == "who are you?"


async def test_the_age_is_unknown_until_the_registry_speaks(make_cache, registry):
    """Before the first word there is none; then it is counted from the last confirmation."""
    registry.go_down()
    cache = make_cache()
    assert cache.age("stock/1") is None
    await cache.follow("stock/1")
    await asyncio.sleep(1)
    assert cache.age("stock/1") is None
    registry.come_back()
    await asyncio.sleep(30)
    assert cache.age("stock/1") < timedelta(seconds=6)


async def test_a_client_follows_so_many_services_and_no_more(make_cache, monkeypatch):
    """The limit is named."""
    monkeypatch.setattr("placet_rpc.registry.cache.SERVICES_MAX", 2)
    cache = make_cache()
    for name in ("a/1", "b/1", "a/1"):
        await cache.follow(name)
    with pytest.raises(ValueError, match="2 services at most"):
        await cache.follow("c/1")
