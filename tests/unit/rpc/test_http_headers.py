"""Header fields and URLs: nothing that would change the framing of a request gets through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc import HeaderTemplate, header_block
from placet_rpc.http.url import Origin, split_url

BREAKING = ["a\r\nx: 1", "a\nx: 1", "a\rb", "a\0b", "\x1b[0m", "\x7f"]


@pytest.mark.parametrize("value", BREAKING)
def test_control_characters_in_values_are_refused(value):
    """A value can't bring a line of its own, in either way of encoding."""
    with pytest.raises(ValueError, match="control character") as caught:
        header_block([("x-a", value)])
    assert "x: 1" not in str(caught.value)
    template = HeaderTemplate("x-a", "x-b")
    with pytest.raises(ValueError, match="control character"):
        template.fill("fine", value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "ä", "x\0", "(x)"])
def test_names_that_are_no_tokens_are_refused(name):
    """A name is a token or nothing."""
    with pytest.raises(ValueError, match="not a token"):
        header_block([(name, "1")])
    with pytest.raises(ValueError, match="not a token"):
        HeaderTemplate(name)


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "connection", "expect", "TE"])
def test_fields_of_framing_belong_to_the_client(name):
    """A second length or host would let two readers see two requests."""
    with pytest.raises(ValueError, match="set by the client itself"):
        header_block([(name, "1")])


def test_text_outside_latin_1_is_refused_before_anything_is_sent():
    """There is no agreed encoding for it in a field."""
    with pytest.raises(ValueError, match="Latin-1"):
        header_block([("x-a", "€")])
    with pytest.raises(ValueError, match="latin-1"):
        HeaderTemplate("x-a").fill("€")


def test_a_template_needs_a_value_per_name():
    """A missing or surplus value is a mistake of the caller's code."""
    with pytest.raises(TypeError):
        HeaderTemplate("x-a", "x-b").fill("1")
    with pytest.raises(TypeError):
        HeaderTemplate("x-%d").fill("1", "2")
    assert HeaderTemplate("x-%d").fill(1) == b"x-%d: 1\r\n"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_template_yields_its_own_lines_or_refuses(values):
    """Whatever the values, there are as many lines as names, or there is a ValueError."""
    template = HeaderTemplate(*(f"x-{number}" for number in range(len(values))))
    try:
        block = template.fill(*values)
    except ValueError:
        return
    lines = block.decode("latin-1").split("\r\n")
    assert lines == [*(f"x-{number}: {value}" for number, value in enumerate(values)), ""]


@pytest.mark.parametrize(
    ("url", "origin", "path"),
    [
        ("http://127.0.0.1:7001/debit/try", "http://127.0.0.1:7001", "/debit/try"),
        ("http://Bank-A.test", "http://bank-a.test", "/"),
        ("https://bank.test:443/a?b=c&d", "https://bank.test", "/a?b=c&d"),
        ("http://[0:0::1]:80/", "http://[::1]", "/"),
        ("https://[2001:db8::5]:8443", "https://[2001:db8::5]:8443", "/"),
    ],
)
def test_urls_are_split(url, origin, path):
    """Equal origins are equal, so that they share a pool."""
    split = split_url(url)
    assert (str(split[0]), split[1]) == (origin, path)
    assert split_url(f"{split[0]}{split[1]}") == split
    assert isinstance(split[0], Origin)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("http://h/a\r\nx: 1", "visible ASCII"),
        ("http://h/a b", "visible ASCII"),
        ("http://h/ä", "visible ASCII"),
        ("http://bücher.test/", "visible ASCII"),
        ("/relative", "absolute"),
        ("ftp://h/", "absolute"),
        ("http:///x", "absolute"),
        ("http://user:secret@h/", "user information"),
        ("http://h/#top", "fragment"),
        ("http://h:99999/", "not usable"),
        ("http://h:x/", "not usable"),
        ("http://h:0/", "port 0"),
        ("http://a%0d%0ab/", "neither a name"),
        ("http://a\\b/", "neither a name"),
        ("http://[fe80::1%25eth0]/", "zone"),
    ],
)
def test_urls_that_cannot_be_sent_as_they_are_are_refused(url, rule):
    """The message names the rule and keeps credentials and queries to itself."""
    with pytest.raises(ValueError, match=rule) as caught:
        split_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("method", ["HEAD", "CONNECT", "post", "PO ST", "GET\r\n", ""])
async def test_methods_that_would_break_the_framing_are_refused(method, client):
    """HEAD and CONNECT have replies of other framing; the rest are no methods."""
    with pytest.raises(ValueError, match="method"):
        client.target("http://127.0.0.1:1/", method=method)


async def test_a_caller_s_mistake_raises_before_anything_is_sent(client):
    """ValueError, not RpcError, and no call is counted."""
    for arguments in ({"url": "http://h/a b"}, {"url": "http://127.0.0.1:1/", "headers": [("x", "a\r\nb")]}):
        with pytest.raises(ValueError, match=r"control|visible"):
            await client.request("POST", **arguments)
    assert client.counters.calls == 0
