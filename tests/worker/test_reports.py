"""Senders are told of failures, once, where they want it; and of delays, where their account does."""

import email
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.message import Message

import pytest

from mail.job import Recipient
from tests.worker.house import Books, Post, make_job
from tests.worker.peer import Peer
from tests.worker.test_end_to_end import Scene, until

pytestmark = [pytest.mark.anyio, pytest.mark.long]

REFUSING = {"RCPT bad@far.example": "550 5.1.1 no such user", "RCPT late@far.example": "451 4.2.0 later"}


@pytest.fixture
def scene(books: Books, post: Post, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(books, post, monkeypatch)


def number(peer: Peer, count: int) -> Callable[[], Awaitable[bool]]:
    """Whether so many reports have come."""

    async def come() -> bool:
        return len(reports(peer)) == count

    return come


def reports(peer: Peer) -> list[Message]:
    """The reports among what the peer got."""
    parsed = [email.message_from_bytes(each) for each in peer.messages]
    return [each for each in parsed if each.get_content_type() == "multipart/report"]


def told(report: Message) -> list[tuple[str, str, str]]:
    """The recipients that a report is about."""
    (status,) = (part for part in report.walk() if part.get_content_type() == "message/delivery-status")
    blocks = [block for block in status.get_payload() if isinstance(block, Message)]
    return [(block["Final-Recipient"], block["Action"], block["Status"]) for block in blocks[1:]]


async def test_a_sender_is_told_of_what_failed_once_from_nobody(scene: Scene) -> None:
    async with Peer(REFUSING).serving() as peer:
        scene.books.account(peer.config)
        scene.books.run("UPDATE account SET send_dsn = true")
        job = make_job("good@far.example", "bad@far.example", envid="order-1")
        await scene.post.put(job, job)
        async with scene.working(WORKER_HOSTNAME="mail.shop.example", WORKER_LEASE_SECONDS="5"):
            await scene.settled()
            await until(number(peer, 1))
            await scene.settled()
    (report,) = reports(peer)
    assert told(report) == [("rfc822; bad@far.example", "failed", "5.1.1")]
    assert report["To"] == "<a@shop.example>"
    assert report["From"] == "Mail Delivery System <mailer-daemon@shop.example>"
    assert "MAIL FROM:<>" in " ".join(command for command in peer.commands if command.startswith("MAIL"))
    assert scene.books.run("SELECT dsn FROM recipient WHERE message_id = %s ORDER BY n", job.id) == [
        (None,),
        ("failed",),
    ]
    assert scene.books.run("SELECT count(*) FROM report") == [(0,)]


@pytest.mark.parametrize(
    ("changes", "body"),
    [
        ({"mail_from": ""}, b"Subject: x\r\n\r\n"),
        ({"recipients": (Recipient("bad@far.example", "NEVER"),)}, b"Subject: x\r\n\r\n"),
        ({}, b"Auto-Submitted: auto-replied\r\n\r\n"),
    ],
)
async def test_nobody_is_told_who_would_not_hear_it(scene: Scene, changes: dict[str, object], body: bytes) -> None:
    async with Peer(REFUSING).serving() as peer:
        scene.books.account(peer.config)
        scene.books.run("UPDATE account SET send_dsn = true")
        job = make_job("bad@far.example", body=body, **changes)
        await scene.post.put(job)
        async with scene.working():
            await scene.settled()
    assert scene.books.recipients(job.id) == [(0, "failed", 550)]
    assert scene.books.run("SELECT count(*) FROM report") == [(0,)]
    assert peer.messages == []


async def test_a_report_that_fails_causes_no_other(scene: Scene) -> None:
    async with Peer({"RCPT": "550 5.1.1 no such user"}).serving() as peer:
        scene.books.account(peer.config)
        scene.books.run("UPDATE account SET send_dsn = true")
        await scene.post.put(make_job())

        async def both_failed() -> bool:
            return scene.books.states() == ["done", "done"]

        async with scene.working():
            await until(both_failed)
            await scene.settled()
    assert scene.books.run("SELECT mail_from, recipient.state FROM message JOIN recipient ON message_id = id") in (
        [("a@shop.example", "failed"), ("", "failed")],
        [("", "failed"), ("a@shop.example", "failed")],
    )


async def test_a_delay_is_told_once_and_the_end_of_it_too(scene: Scene) -> None:
    async with Peer(REFUSING).serving() as peer:
        scene.books.account(peer.config)
        scene.books.run("UPDATE account SET send_dsn = true, delay_notice_seconds = 10")
        job = make_job("late@far.example", accepted_at=datetime.now(UTC) - timedelta(seconds=50))
        await scene.post.put(job)
        async with scene.working(WORKER_EXPIRY_SECONDS="60"):
            await until(number(peer, 2), 40)
            await scene.settled()
    (delay,), (end,) = map(told, reports(peer))
    assert delay == ("rfc822; late@far.example", "delayed", "4.2.0")
    # Its last attempt has failed, or there was no time for another one.
    assert end[:2] == ("rfc822; late@far.example", "failed")
    assert end[2] in {"4.2.0", "4.4.7"}
