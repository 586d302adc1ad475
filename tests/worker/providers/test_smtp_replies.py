"""Replies however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.providers.smtp.replies import MAX_LINE, MAX_LINES, Broken, Reply, ReplyReader

TEXTS = st.lists(st.text(st.characters(exclude_categories=["C"]), max_size=60), min_size=1, max_size=4)
REPLIES = st.lists(st.builds(Reply, st.integers(200, 599), TEXTS.map("\n".join)), max_size=6)


def written(reply: Reply) -> bytes:
    *lines, last = reply.text.split("\n")
    return "".join([*(f"{reply.code}-{line}\r\n" for line in lines), f"{reply.code} {last}\r\n"]).encode()


@given(REPLIES, st.data())
def test_replies_are_the_same_in_whatever_pieces_they_come(replies: list[Reply], data: st.DataObject) -> None:
    octets, reader = b"".join(map(written, replies)), ReplyReader()
    while octets:
        size = data.draw(st.integers(1, len(octets)))
        reader.feed(octets[:size])
        octets = octets[size:]
    assert (list(reader.replies), reader.amid_reply) == (replies, False)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"250-", b"250 ", b"\r\n", b"\n", b"99", b"\0"]))))
def test_nonsense_is_told_from_replies_and_nothing_else_happens(pieces: list[bytes]) -> None:
    reader = ReplyReader()
    try:
        for piece in pieces:
            reader.feed(piece)
    except Broken:
        pass
    else:
        lines = b"".join(pieces).split(b"\n")[:-1]
        assert len(reader.replies) == sum(line[3:4] != b"-" for line in lines)


@pytest.mark.parametrize(
    "endless", [b"250 " + b"x" * MAX_LINE, b"250-" + b"x" * MAX_LINE + b"\r\n", b"250-x\r\n" * (MAX_LINES + 1)]
)
def test_replies_before_one_that_is_too_long_are_whole(endless: bytes) -> None:
    reader = ReplyReader()
    with pytest.raises(Broken):
        reader.feed(b"250 2.1.0 ok\r\n550-5.1.1 no\r\n550 such user\n" + endless)
    assert list(reader.replies) == [Reply(250, "2.1.0 ok"), Reply(550, "5.1.1 no\nsuch user")]
