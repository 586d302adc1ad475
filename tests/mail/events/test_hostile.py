"""Calls that no provider makes."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.events import mailgun, postmark, sendgrid, ses
from mail.events.event import BadCall, Fault, Told
from mail.events.reading import MAX_OCTETS, clean, reply
from tests.mail.events import calls

READERS: dict[str, Callable[[bytes | str], Told]] = {
    "ses": ses.parse,
    "mailgun": mailgun.parse,
    "sendgrid": sendgrid.parse,
    "postmark": postmark.parse,
}
GOOD: dict[str, list[Any]] = {
    "ses": [calls.ses_bounce(), calls.sns(calls.ses_delivery()), calls.event_bridge(calls.ses_complaint())],
    "mailgun": [calls.mailgun("failed", {"code": 550, "message": "x"}, severity="permanent", reason="bounce")],
    "sendgrid": [[calls.sendgrid("bounce", type="bounce", status="5.1.1", reason="550 x"), calls.sendgrid("open")]],
    "postmark": [calls.postmark_bounce("HardBounce"), calls.postmark("Delivery", DeliveredAt=calls.ISO)],
}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40) | st.just("\ud800\0")
ANYTHING = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a document something else could stand."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, each in inner for place in places(each, (*path, key)))]


def changed(value: Any, path: tuple[Any, ...], other: Any) -> Any:
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = changed(value[path[0]], path[1:], other)
    return copy


def check(told: Told) -> None:
    """What is read fits where it is kept."""
    for event in told.events:
        assert 0 < len(event.id) <= 64
        assert event.id.isascii()
        assert "@" in event.address
        assert len(event.address) <= 320
        texts = [event.address, event.text, event.reason, event.enhanced, event.provider_message_id, event.channel]
        for text in filter(None, texts):
            assert len(text.encode()) <= 2000
            assert text.isprintable()
        assert event.code is None or 200 <= event.code < 600
        assert event.occurred_at.tzinfo is not None


def read(name: str, octets: bytes) -> Fault | None:
    """Read a call, and give whose fault it is that it cannot be."""
    try:
        told = READERS[name](octets)
    except BadCall as bad:
        return bad.fault
    check(told)
    return None


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
def test_whatever_stands_in_a_call_is_read_or_refused(name: str, data: st.DataObject) -> None:
    good = data.draw(st.sampled_from(GOOD[name]))
    call = changed(good, data.draw(st.sampled_from(places(good))), data.draw(ANYTHING))
    assert read(name, json.dumps(call).encode()) in {None, Fault.PROVIDER}


@pytest.mark.parametrize("name", READERS)
@given(octets=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(name: str, octets: bytes) -> None:
    assert read(name, octets) in {None, Fault.PROVIDER}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"[" * 100_000, "not JSON: RecursionError"),
        (b'{"a":' * 100_000, "not JSON: RecursionError"),
        (b"1" * 10_000, "not JSON: ValueError"),
        (b"[NaN]", "not JSON: ValueError"),
        (b"\xff\xfe\x00", "not JSON: UnicodeDecodeError"),
        (b" " * (MAX_OCTETS + 1), f"longer than {MAX_OCTETS} octets"),
    ],
    ids=["lists", "objects", "digits", "NaN", "no UTF-8", "long"],
)
def test_what_would_cost_too_much_is_refused(name: str, octets: bytes, reason: str) -> None:
    with pytest.raises(BadCall) as bad:
        READERS[name](octets)
    assert (bad.value.fault, bad.value.reason) == (Fault.PROVIDER, reason)


def test_words_of_others_are_kept_short_and_clean() -> None:
    assert clean("a\r\nb\0c\u202ed\ud800" + "x" * 1000) == "a  b c d?" + "x" * 491


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("550 5.1.1 no such user", (550, "5.1.1")),
        ("550-5.1.1 no such user", (550, "5.1.1")),
        ("smtp; 421 try later", (421, None)),
        ("SMTP;550 5.7.1", (550, "5.7.1")),
        ("5.1.1 no such user", (None, "5.1.1")),
        ("250", (250, None)),
        ("2501", (None, None)),
        ("Bounced Address", (None, None)),
        ("", (None, None)),
    ],
)
def test_a_reply_begins_with_its_codes(text: str, found: tuple[int | None, str | None]) -> None:
    assert reply(text) == found
