import hashlib
import random
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.accounts import GeneratedSecret, secret_digest
from mail.dedupe import Marks, dedupe_key
from mail.delivery import AFTER, Outcome, RetryPolicy, next_attempt
from mail.headers import MAX_HEADER_BLOCK, Hop, find_headers, header_block, received
from mail.ids import uuid7
from mail.states import (
    DELIVERY_TRANSITIONS,
    SETTLED,
    TERMINAL,
    TRANSITIONS,
    DeliveryState,
    MessageState,
    State,
    message_state,
)

KEY = bytes(range(32))
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def test_a_credential_admits_its_own_secret_under_its_own_name_and_key() -> None:
    secret = GeneratedSecret(secret_digest(KEY, "shop-1", "right"))
    assert secret.admits(KEY, "shop-1", "right")
    assert not secret.admits(KEY, "shop-1", "wrong")
    assert not secret.admits(bytes(32), "shop-1", "right")
    assert not secret.admits(KEY, "shop-2", "right")


def test_a_short_credential_key_is_refused() -> None:
    with pytest.raises(ValueError, match="the credential key has 31 bytes; it needs 32 or more"):
        secret_digest(bytes(31), "a", "b")


@given(st.integers(min_value=0, max_value=2**48 - 1), st.binary(min_size=10, max_size=10))
def test_a_uuid7_carries_its_time_and_sorts_by_it(milliseconds: int, entropy: bytes) -> None:
    made = uuid7(milliseconds, entropy)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    assert made.int >> 80 == milliseconds
    if milliseconds:
        assert uuid7(milliseconds - 1, b"\xff" * 10) < made


def test_headers_are_found_unfolded_and_only_in_the_header_block() -> None:
    raw = b"Subject: one\r\n two\r\nmessage-id:<a@b>\r\nX-Bytes: \xff\r\n\r\nMessage-ID: <body>\r\n"
    block = header_block(raw)
    assert block == raw.partition(b"\r\n\r\n")[0]
    assert find_headers(block, "Subject", "Message-ID", "X-None", "X-Bytes") == ["one two", "<a@b>", None, "\ufffd"]
    assert header_block(b"\r\nSubject: no") == b""
    assert header_block(bytearray(b"Before: it\r\n" + raw), 12) == block
    assert len(header_block(b"x" * 300_000)) == MAX_HEADER_BLOCK


LINES = st.sampled_from(
    [b"A", b"a", b"Ab", b"B-a", b"\xc3\x84", b":", b"\x0b", b"\x1c", b" ", b"\t", b"\r\n", b"\r\n ", b"\n", b"\r", b"v"]
)


@given(st.lists(LINES, max_size=20).map(b"".join))
def test_a_header_is_the_first_line_with_its_name(block: bytes) -> None:
    field = re.search(rb"(?im)^a[ \t]*:((?:[^\r\n]|\r\n[ \t])*)", block)
    value = re.sub(rb"\r\n(?=[ \t])", b"", field[1]).decode("utf-8", "replace").strip() if field else None
    assert find_headers(block, "A") == find_headers(block, "a") == [value]


def test_the_received_header_names_who_how_what_and_when() -> None:
    hop = Hop("client.example", "2001:db8::1", "relay.example", "ESMTPSA", "TLSv1.3 TLS_AES_128_GCM_SHA256")
    assert received(hop, "id-1", "SESSION", NOW) == (
        b"Received: from client.example ([IPv6:2001:db8::1])\r\n"
        b"\t(TLSv1.3 TLS_AES_128_GCM_SHA256)\r\n"
        b"\tby relay.example with ESMTPSA id id-1\r\n"
        b"\t(session SESSION);\r\n"
        b"\tSun, 22 Nov 2026 12:00:00 +0000\r\n"
    )


@given(st.text())
def test_no_helo_can_break_the_received_header(helo: str) -> None:
    header = received(Hop(helo, "192.0.2.1", "r", "ESMTP", ""), "i", "s", NOW)
    assert header.count(b"\r\n") == header.count(b"\n") == 4
    assert header.isascii()


def key(**changes: object) -> bytes | None:
    values: dict[str, object] = {
        "credential": UUID(int=1),
        "mail_from": "a@b",
        "recipients": ["x@y", "z@y"],
        "marks": Marks(None, "<1@b>", b"1"),
    }
    return dedupe_key(**(values | changes))  # type: ignore[arg-type]


def test_the_same_submission_has_the_same_key_whatever_the_order_of_recipients() -> None:
    assert key() == key(recipients=["z@y", "x@y"])
    changed = [
        key(credential=UUID(int=2)),
        key(mail_from="c@b"),
        key(recipients=["x@y"]),
        key(marks=Marks(None, "<2@b>", b"1")),
        key(marks=Marks(None, "<1@b>", b"2")),
    ]
    assert len({key(), *changed}) == 6


def test_an_idempotency_key_decides_alone_within_its_credential() -> None:
    first = key(marks=Marks("order-1", None, b"1"))
    assert first == key(marks=Marks("order-1", "<9@b>", b"2"), mail_from="other@b")
    assert first != key(marks=Marks("order-1", None, b"1"), credential=UUID(int=2))


def test_a_message_that_nothing_identifies_is_always_new() -> None:
    assert key(marks=Marks(None, None, b"1")) is None


def test_every_outcome_leads_to_a_state_that_sending_may_become() -> None:
    assert AFTER.keys() == set(Outcome)
    assert set(AFTER.values()) <= TRANSITIONS[State.SENDING]


def test_terminal_states_are_the_recipients_fate() -> None:
    assert {
        State.COMPLAINED,
        State.FAILED,
        State.EXPIRED,
        State.SUPPRESSED,
        State.DISCARDED,
        State.CANCELLED,
    } == TERMINAL
    assert TRANSITIONS.keys() == set(State)
    assert DELIVERY_TRANSITIONS.keys() == set(DeliveryState)


def test_what_is_settled_moves_only_to_what_is_settled() -> None:
    for state in SETTLED:
        assert TRANSITIONS[state] <= SETTLED


@pytest.mark.parametrize(
    ("recipients", "message"),
    [
        ({State.ACCEPTED, State.DELIVERED}, MessageState.ACCEPTED),
        ({State.ACCEPTED, State.BOUNCED}, MessageState.PARTIAL),
        ({State.FAILED, State.SUPPRESSED}, MessageState.FAILED),
        ({State.ACCEPTED, State.DEFERRED}, MessageState.PENDING),
        ({State.UNKNOWN, State.HELD}, MessageState.PENDING),
        ({State.HELD, State.FAILED}, MessageState.HELD),
    ],
)
def test_a_message_stands_as_its_recipients_do(recipients: set[State], message: MessageState) -> None:
    assert message_state(recipients) is message


def test_every_state_can_reach_an_end() -> None:
    reachable = set(TERMINAL)
    for _ in State:
        reachable |= {state for state, following in TRANSITIONS.items() if following & reachable}
    assert reachable == set(State)


def test_waits_follow_the_schedule_and_repeat_its_last() -> None:
    policy = RetryPolicy(waits=(60, 300, 600), jitter=0.0)
    end = NOW + timedelta(days=2)
    waits = [next_attempt(policy, n, NOW, end, random.Random(1)) for n in (0, 1, 2, 3, 4, 50)]
    assert [(due - NOW).total_seconds() for due in waits if due] == [60, 60, 300, 600, 600, 600]


@given(st.integers(min_value=1, max_value=20), st.integers())
def test_jitter_stays_within_a_fifth(attempts: int, seed: int) -> None:
    policy = RetryPolicy(waits=(60, 300, 600))
    due = next_attempt(policy, attempts, NOW, NOW + timedelta(days=2), random.Random(seed))
    exact = policy.waits[min(attempts, 3) - 1]
    assert due is not None
    assert 0.8 * exact <= (due - NOW).total_seconds() <= 1.2 * exact


def test_a_long_wait_is_cut_short_for_a_last_attempt_before_the_message_expires() -> None:
    policy = RetryPolicy(waits=(60, 14_400), jitter=0.0)
    end = NOW + timedelta(hours=3)
    assert next_attempt(policy, 2, NOW, end, random.Random(1)) == end - timedelta(seconds=60)
    assert next_attempt(policy, 2, end - timedelta(seconds=119), end, random.Random(1)) is None


def test_what_would_wait_past_its_expiry_expires() -> None:
    policy = RetryPolicy(waits=(60,))
    assert next_attempt(policy, 1, NOW, NOW + timedelta(seconds=40), random.Random(1)) is None


def test_a_digest_is_an_hmac_of_the_name_and_the_secret() -> None:
    assert len(secret_digest(KEY, "a", "b")) == hashlib.sha256().digest_size
