"""A body is read to the limit and no further, and never answered when its sender is gone."""

import pytest

from placet_contract.limits import BODY_BYTES_MAX
from placet_coordinator.api.answers import TooLarge
from placet_coordinator.api.body import ClientGone, read_body


def parts(*bodies, gone=False):
    """Returns an ASGI `receive` that hands out these parts, and counts them."""
    messages = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    if gone:
        messages.append({"type": "http.disconnect"})
    else:
        messages[-1]["more_body"] = False

    async def receive():
        receive.count += 1
        return messages.pop(0)

    receive.count = 0
    return receive


async def test_parts_are_put_together():
    """As they were sent."""
    assert await read_body([], parts(b"ab", b"", b"cd")) == b"abcd"


async def test_announced_length_over_the_limit_is_refused_unread():
    """Nobody waits for a body that won't be taken."""
    receive = parts(b"x")
    with pytest.raises(TooLarge):
        await read_body([(b"content-length", b"%d" % (BODY_BYTES_MAX + 1))], receive)
    assert receive.count == 0


async def test_reading_stops_at_the_limit():
    """Without a length the limit is met while reading: what comes after is left."""
    receive = parts(*[b"x" * 400_000] * 10)
    with pytest.raises(TooLarge):
        await read_body([], receive)
    assert receive.count == 3


async def test_limit_itself_is_taken():
    """In one part or in several."""
    assert len(await read_body([], parts(b"x" * BODY_BYTES_MAX))) == BODY_BYTES_MAX
    assert len(await read_body([], parts(b"x" * (BODY_BYTES_MAX - 1), b"x"))) == BODY_BYTES_MAX
    with pytest.raises(TooLarge):
        await read_body([], parts(b"x" * (BODY_BYTES_MAX + 1)))


@pytest.mark.parametrize("sent", [(), (b"{",)])
async def test_half_a_request_is_none(sent):
    """Who left in the middle gets nothing, and nothing is done."""
    with pytest.raises(ClientGone):
        await read_body([], parts(*sent, gone=True))


@pytest.mark.parametrize("path", ["/v1/transactions", "/v1/transactions/finished"])
async def test_a_call_whose_body_never_came_whole_is_not_carried_out(node, path):
    """Nobody reads an answer, if there is one, and it is no defect: at the lane as at FastAPI's calls."""
    sent = []

    async def send(message):
        sent.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await node.app(scope, parts(b'{"pattern":', gone=True), send)
    assert 500 not in sent
    assert node.driver.held == {}
