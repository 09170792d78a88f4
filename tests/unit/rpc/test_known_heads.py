"""The memory of heads: bounded in number and in bytes, whatever a peer sends."""

from placet_rpc.known_heads import KnownHeads, head_end


def test_one_more_than_the_limit_forgets_all_before_it() -> None:
    """A peer whose heads never repeat can neither fill the memory nor keep others out of it."""
    heads: KnownHeads[int] = KnownHeads(2, 100)
    for number in range(3):
        heads.keep(b"head %d" % number, number)
    assert dict(heads) == {b"head 2": 2}


def test_a_long_head_is_not_kept() -> None:
    """The limit itself is."""
    heads: KnownHeads[int] = KnownHeads(2, 4)
    heads.keep(b"1234", 1)
    heads.keep(b"12345", 2)
    assert dict(heads) == {b"1234": 1}


def test_the_end_of_a_head_is_behind_its_empty_line() -> None:
    """And below 4 where there is none."""
    assert head_end(b"a: b\r\n\r\nbody") == 8
    assert head_end(b"a: b\r\n") == 3
