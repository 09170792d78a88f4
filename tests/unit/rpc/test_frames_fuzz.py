"""The frames under hypothesis: whatever comes is frames or one error, however it was cut."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from placet_rpc.frames import Channel, DecodeError, Frame, FrameDecoder, Hello, Kind, encode_frame
from placet_rpc.frames.call import HttpCallTemplate, decode_call, decode_reply
from placet_rpc.frames.channel import FRAGMENT_BYTES
from placet_rpc.frames.decoder import FIRST_FRAME_BYTES_MAX, HEADER_BYTES_MAX
from placet_rpc.frames.layout import HEAD, HEAD_BYTES, MAGIC, MORE_FRAGMENTS, VERSION

LIMIT = 200

numbers = st.integers(0, 2**32 - 1)
messages = st.builds(
    encode_frame,
    st.sampled_from([Kind.REQUEST, Kind.RESPONSE, Kind.ONEWAY]),
    numbers,
    time=numbers,
    flags=st.sampled_from([0, 0x02, 0x04, MORE_FRAGMENTS]),
    codec=st.integers(0, 255),
    header=st.binary(max_size=40),
    body=st.binary(max_size=LIMIT + 60),
)
controls = st.builds(
    encode_frame, st.sampled_from([Kind.CANCEL, Kind.PING, Kind.PONG, Kind.GOAWAY]), numbers, time=numbers
)
# A fixed header with some field out of its range, and plain noise.
broken = st.builds(
    HEAD.pack,
    st.sampled_from([MAGIC, MAGIC + 1]),
    st.sampled_from([VERSION, 9]),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, 2**16 - 1),
    numbers,
    numbers,
    numbers,
)
streams = st.lists(messages | controls | broken | st.binary(max_size=50), max_size=6).map(b"".join)


def decode(parts, limit=LIMIT):
    decoder = FrameDecoder(limit)
    frames = [frame for part in parts for frame in decoder.feed(part)]
    return frames, str(decoder.error), decoder


def cut(stream, places):
    edges = [0, *sorted(place % (len(stream) + 1) for place in places), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


@given(streams)
def test_a_stream_cut_at_every_byte_gives_the_same_frames(stream):
    """One feed and a feed per byte give equal frames and the equal error."""
    whole, error, _ = decode([stream])
    single, same_error, _ = decode([bytes([byte]) for byte in stream])
    assert whole == single
    assert error == same_error


@given(streams, st.lists(st.integers(0, 2**16), max_size=8))
def test_a_stream_cut_anywhere_gives_the_same_frames(stream, places):
    """As per byte, for cuts that leave frames whole in the middle."""
    assert decode([stream])[:2] == decode(cut(stream, places))[:2]


@given(st.lists(messages | controls, max_size=8))
def test_what_was_encoded_comes_back(encoded):
    """Well-formed frames are never an error; a body over the limit is reported and skipped, the rest goes on."""
    frames, _, decoder = decode([b"".join(encoded)])
    assert decoder.error is None
    assert len(frames) == len(encoded)
    for frame, raw in zip(frames, encoded, strict=True):
        size = HEAD.unpack_from(raw)[8]
        assert frame.skipped_bytes == (size if size > LIMIT else 0)
        assert frame.body == (b"" if frame.skipped_bytes else raw[len(raw) - size :])


@given(numbers.filter(lambda size: size > LIMIT), st.sampled_from([Kind.REQUEST, Kind.HELLO, Kind.PING]))
def test_nothing_is_kept_for_an_announced_length(size, kind):
    """A frame that announces more than the limit, and never sends it, costs no memory."""
    decoder = FrameDecoder(LIMIT)
    decoder.feed(HEAD.pack(MAGIC, VERSION, kind, 0, 0, 0, 1, 0, size))
    decoder.feed(b"x" * min(LIMIT, size))
    assert decoder.buffered_bytes <= HEAD_BYTES


def test_a_partial_frame_keeps_only_what_came():
    """The limit bounds what is kept, and what is kept is what was sent."""
    decoder = FrameDecoder(2**20)
    decoder.feed(HEAD.pack(MAGIC, VERSION, Kind.REQUEST, 0, 0, 0, 1, 0, 2**20) + b"x" * 10)
    assert decoder.buffered_bytes == HEAD_BYTES + 10


@given(streams, st.lists(st.integers(0, 2**16), max_size=6))
def test_a_channel_gives_messages_or_one_error(stream, places):
    """A channel after HELLO takes any bytes: messages of known types, then at most one error, the same for any cuts."""
    hello = Hello(max_message_bytes=LIMIT)
    greeting = Channel(Hello())
    greeting.open()
    stream = greeting.take() + stream
    outcomes = []
    for parts in ([stream], cut(stream, places)):
        channel = Channel(hello)
        found = []
        for part in parts:
            found += channel.feed(part)
            if channel.error is not None:
                break
        assert channel.error is None or isinstance(channel.error, DecodeError)
        assert all(isinstance(frame, Frame) for frame in found)
        assert all(len(frame.body) <= LIMIT for frame in found)
        assert {frame.kind for frame in found} <= {Kind.REQUEST, Kind.RESPONSE, Kind.ONEWAY, Kind.CANCEL, Kind.GOAWAY}
        outcomes.append((found, str(channel.error)))
    assert outcomes[0] == outcomes[1]


@given(st.binary(max_size=200))
def test_maps_decode_or_raise_value_error(raw):
    """The maps of requests and replies, and HELLO, take any bytes with a value or a ValueError."""
    outcomes = []
    for decode_map in (decode_call, decode_reply):
        try:
            decode_map(raw)
        except ValueError as error:
            outcomes.append(error)
    assert all(isinstance(error, msgspec.DecodeError | UnicodeDecodeError) for error in outcomes)
    channel = Channel(Hello())
    channel.feed(encode_frame(Kind.HELLO, 0, body=raw))
    assert (channel.peer is None) is (channel.error is not None)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_a_filled_template_is_the_map(common, fields):
    """The template writes by hand what the decoder reads."""
    header = decode_call(HttpCallTemplate("POST", "/a?b", common).fill(fields))
    assert (header.http_method, header.target, header.fields) == (b"POST", b"/a?b", common + fields)


@given(st.lists(st.integers(0, 3 * FRAGMENT_BYTES), min_size=1, max_size=5))
def test_long_messages_travel_in_fragments_and_let_short_ones_pass(sizes):
    """Every body arrives whole whatever is interleaved, and no frame is longer than a fragment."""
    sender, receiver = Channel(Hello()), Channel(Hello())
    sender.open()
    sent = {}
    for number, size in enumerate(sizes, 1):
        sent[number] = bytes([number]) * size
        sender.send(Kind.REQUEST, number, 0, 1, b"", sent[number])
    received = {}
    while sender.has_output:
        for frame in receiver.feed(sender.take()):
            received[frame.request_id] = frame.body
    assert receiver.error is None
    assert received == sent


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (encode_frame(Kind.PING, 1), "not HELLO"),
        (encode_frame(Kind.HELLO, 0, body=b"\xc1"), "not a HELLO"),
        (encode_frame(Kind.HELLO, 0, body=b"x" * (FIRST_FRAME_BYTES_MAX + 1)), "body of"),
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", "no frame starts here"),
        (HEAD.pack(MAGIC, VERSION, Kind.REQUEST, 0, 0, HEADER_BYTES_MAX + 1, 1, 0, 0), "a map of"),
    ],
)
def test_what_is_no_hello_ends_the_channel(first, message):
    """Before HELLO nothing else is taken, and nothing long."""
    channel = Channel(Hello())
    assert channel.feed(first) == []
    assert message in str(channel.error)
    assert channel.feed(encode_frame(Kind.PING, 1)) == []


def test_a_second_hello_ends_the_channel():
    """A peer says who it is once."""
    greeting = Channel(Hello())
    greeting.open()
    hello = greeting.take()
    channel = Channel(Hello())
    channel.feed(hello)
    assert channel.error is None
    channel.feed(hello)
    assert "second HELLO" in str(channel.error)


def test_a_ping_is_answered_before_queued_messages():
    """Control frames go first."""
    greeting = Channel(Hello())
    greeting.open()
    channel = Channel(Hello())
    channel.feed(greeting.take())
    channel.send(Kind.RESPONSE, 5, 0, 1, b"", b"body")
    channel.feed(encode_frame(Kind.PING, 77))
    kinds = [frame.kind for frame in FrameDecoder().feed(channel.take())]
    assert kinds == [Kind.PONG, Kind.RESPONSE]


def test_unfinished_fragments_are_bounded():
    """A peer that begins messages and ends none is cut off, and what it sent of long ones is not kept."""
    greeting = Channel(Hello())
    greeting.open()
    channel = Channel(Hello(max_message_bytes=100))
    channel.feed(greeting.take())
    for number in range(1, 100):
        channel.feed(encode_frame(Kind.REQUEST, number, flags=MORE_FRAGMENTS, body=b"x"))
        if channel.error is not None:
            break
    assert "fragments at a time" in str(channel.error)
    assert number <= 17
