"""What an operator overhears, and what nobody does."""

import json
from dataclasses import dataclass

import pytest

from relay.smtp.masking import masked
from relay.transcript import LEASE_SECONDS, MAX_WATCHES, Transcripts


@dataclass
class Someone:
    id: str = "s1"
    peer: str = "192.0.2.7"
    account_name: str | None = None


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"MAIL FROM:<a@example.com> SIZE=10", "MAIL FROM:<a@example.com> SIZE=10"),
        (b"NOOP", "NOOP"),
        (b"auth plain AGFwcABzZWNyZXQ=", "auth plain ***"),
        (b"AUTH LOGIN", "AUTH LOGIN"),
        (b"AUTH LOGIN YXBw more", "AUTH LOGIN ***"),
        (b"c2VjcmV0", "*** (8 octets)"),
        (b"AGFwcABzZWNyZXQ= AUTH", "*** (21 octets)"),
        (b"", "*** (0 octets)"),
        ("RCPT TO:<\u00fc@example.net>".encode(), "RCPT TO:<\u00fc@example.net>"),
        (b"NOOP \xff", "NOOP \ufffd"),
    ],
)
def test_a_command_is_shown_without_what_may_be_a_secret(line: bytes, shown: str) -> None:
    assert masked(line) == shown


@pytest.mark.parametrize(
    ("asked", "peer", "account", "heard"),
    [
        ({"account": "shop"}, "192.0.2.7", "shop", True),
        ({"account": "shop"}, "192.0.2.7", "other", False),
        ({"account": "shop"}, "192.0.2.7", None, False),
        ({"network": "192.0.2.7"}, "192.0.2.7", None, True),
        ({"network": "192.0.2.9/24"}, "192.0.2.7", "shop", True),
        ({"network": "198.51.100.0/24"}, "192.0.2.7", "shop", False),
        ({"network": "2001:db8::/32"}, "2001:db8::1", None, True),
        ({"network": "2001:db8::/32"}, "unknown", None, False),
        ({"network": "192.0.2.0/24", "account": "shop"}, "192.0.2.7", "other", False),
    ],
)
def test_who_is_heard(asked: dict[str, str], peer: str, account: str | None, heard: bool) -> None:  # noqa: FBT001 - a table
    lines: list[tuple[str, str]] = []
    transcripts = Transcripts(lambda watch, line: lines.append((watch, line)))
    transcripts.watch(json.dumps({"id": "w"} | asked))
    transcripts.server(Someone(peer=peer, account_name=account), "250-a\r\n250 b")
    expected = [
        ("w", {"session": "s1", "peer": peer, "who": "S", "line": "250-a"}),
        ("w", {"session": "s1", "peer": peer, "who": "S", "line": "250 b"}),
    ]
    said = [(watch, json.loads(line)) for watch, line in lines]
    assert [(watch, {key: words[key] for key in words if key != "at"}) for watch, words in said] == (
        expected if heard else []
    )


def test_a_transcript_ends_by_itself_and_goes_on_while_it_is_asked_for() -> None:
    clock, lines = Clock(), list[str]()
    transcripts = Transcripts(lambda _, line: lines.append(line), clock)
    for _ in range(3):
        transcripts.watch('{"id": "w", "account": "shop"}')
        clock.now += LEASE_SECONDS - 1
        transcripts.note(Someone(account_name="shop"), "still here")
    assert (transcripts.active, len(lines)) == (True, 3)
    clock.now += 2
    transcripts.note(Someone(account_name="shop"), "gone")
    assert (transcripts.active, len(lines)) == (False, 3)


@pytest.mark.parametrize(
    "subject",
    ["", "[]", "{}", '{"id": 1, "account": "a"}', '{"id": "w"}', '{"id": "w", "network": "example.com"}', "\ud800"],
)
def test_a_demand_that_makes_no_sense_is_refused(subject: str) -> None:
    transcripts = Transcripts(lambda *_: None)
    with pytest.raises(ValueError, match=r"."):
        transcripts.watch(subject)
    assert not transcripts.active


def test_only_so_many_may_listen() -> None:
    transcripts = Transcripts(lambda *_: None)
    for number in range(MAX_WATCHES):
        transcripts.watch(json.dumps({"id": str(number), "account": "shop"}))
    with pytest.raises(ValueError, match="20 transcripts"):
        transcripts.watch('{"id": "one more", "account": "shop"}')


def test_a_line_is_bounded_and_printable() -> None:
    lines: list[str] = []
    transcripts = Transcripts(lambda _, line: lines.append(json.loads(line)["line"]))
    transcripts.watch('{"id": "w", "network": "192.0.2.0/24"}')
    transcripts.client(Someone(), "NOOP \x1b[31m" + "x" * 2000)
    assert lines == ["NOOP ?[31m" + "x" * 502]
