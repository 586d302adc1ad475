"""The stream and the tags that a client gives a message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.markers import Markers, markers


def test_the_stream_and_all_tags_are_read() -> None:
    message = b"X-Tag: welcome, spring.2026\r\nx-stream: bulk\r\nX-TAG:\r\n\tA_b-1\r\n\r\nX-Tag: body\r\n"
    assert markers(message) == Markers("bulk", ("welcome", "spring.2026", "A_b-1"))


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (b"", Markers(None, ())),
        (b"From: a@b\r\n\r\nX-Stream: bulk", Markers(None, ())),
        (b"X-Stream: bulk mail\r\nX-Tag: a b, c, \xc3\xa4, , d\r\n\r\n", Markers(None, ("c", "d"))),
        (b"X-Stream: first\r\nX-Stream: second\r\n\r\n", Markers("first", ())),
        (b"X-Stream: " + b"a" * 64 + b"\r\nX-Tag: " + b"b" * 65 + b"\r\n\r\n", Markers("a" * 64, ())),
        (b"X-Tag: a,b,a\r\nX-Tag: b\r\n\r\n", Markers(None, ("a", "b"))),
        (
            b"X-Tag: " + b",".join(b"%d" % n for n in range(12)) + b"\r\n\r\n",
            Markers(None, tuple(str(n) for n in range(10))),
        ),
    ],
)
def test_what_is_malformed_or_too_much_is_ignored(message: bytes, found: Markers) -> None:
    assert markers(message) == found


@given(st.binary(), st.binary())
def test_no_octets_make_it_fail(stream: bytes, tag: bytes) -> None:
    found = markers(b"X-Stream:" + stream + b"\r\nX-Tag:" + tag + b"\r\n\r\n")
    assert len(found.tags) <= 10
