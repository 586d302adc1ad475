"""Quotas as sessions meet them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from backing.aws import Aws
from backing.cache import Cache
from backing.quotas import Quotas
from mail.accounts import Quota, Unit, Window
from mail.errors import Unavailable
from tests.relay.accounts import MESSAGE, Clock, become, commit
from tests.relay.house import ACCOUNT, USER, Files, Running, relay, until

pytestmark = pytest.mark.anyio

HOURLY = "452 4.7.1 Hourly quota of 2 messages reached, resets 2026-11-22T20:00Z ref="
DAILY = "452 4.7.1 Daily quota of 3 recipients reached, resets 2026-11-23T00:00Z ref="


@asynccontextmanager
async def counted(files: Files, *quotas: tuple[Window, Unit, int]) -> AsyncIterator[tuple[Running, Clock[datetime]]]:
    """A relay whose account has quotas, and the clock of its windows."""
    async with relay(files) as running:
        clock = Clock(datetime(2026, 11, 22, 19, 30, tzinfo=UTC))
        cache = Cache(running.house.settings, Aws("eu-central-1"))
        running.house.quotas = Quotas(cache, running.house.metrics.quota_refusals, clock)
        become(running, quotas=tuple(Quota(*quota) for quota in quotas))
        yield running, clock


async def test_a_quota_of_messages_ends_at_mail_and_begins_anew(files: Files) -> None:
    async with counted(files, ("hour", "messages", 2)) as (running, clock):
        peer = await running.signed_in()
        for _ in range(2):
            assert (await peer.submit(MESSAGE)).startswith("250 ")
        for _ in range(2):
            await peer.ask("MAIL FROM:<me@example.com>", HOURLY)
        # It is the account's, so another session changes nothing.
        await (await running.signed_in()).ask("MAIL FROM:<>", HOURLY)
        assert running.counted("relay_quota_refusals_total", window="hour", unit="messages") == 3
        clock.now += timedelta(minutes=30)
        assert (await peer.submit(MESSAGE)).startswith("250 ")
        assert len(running.queue.jobs) == 3


async def test_a_recipient_too_many_is_refused_and_the_others_are_sent_to(files: Files) -> None:
    async with counted(files, ("day", "recipients", 3)) as (running, _):
        peer = await running.signed_in()
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        for name in "abc":
            await peer.ask(f"RCPT TO:<{name}@b.example>", "250")
        await peer.ask("RCPT TO:<d@b.example>", DAILY)
        # Who is on the list already counts once.
        await peer.ask("RCPT TO:<a@b.example>", "250")
        await peer.ask("DATA", "354")
        assert (await commit(peer)).startswith("250 ")
        (job,) = running.queue.jobs
        assert [recipient.address for recipient in job.recipients] == ["a@b.example", "b@b.example", "c@b.example"]
        await peer.ask("MAIL FROM:<me@example.com>", DAILY)
        assert running.counted("relay_quota_refusals_total", window="day", unit="recipients") == 2


@pytest.mark.parametrize("verb", ["DATA", "BDAT"])
async def test_of_two_messages_on_their_way_at_once_the_quota_takes_one(files: Files, verb: str) -> None:
    async with counted(files, ("hour", "messages", 2)) as (running, _):
        first = await running.signed_in()
        assert (await first.submit(MESSAGE)).startswith("250 ")
        second = await running.signed_in()
        for peer in (first, second):
            await peer.ask("MAIL FROM:<me@example.com>", "250")
            await peer.ask("RCPT TO:<you@b.example>", "250")
        await first.ask("DATA", "354")
        assert (await commit(first)).startswith("250 ")
        if verb == "DATA":
            await second.ask("DATA", "354")
            assert (await commit(second)).startswith(HOURLY)
        else:
            second.send(b"BDAT %d LAST\r\n%s" % (len(MESSAGE), MESSAGE))
            await second.expect(HOURLY)
        # The transaction is over, and the stream is in step.
        await second.ask("DATA", "503 5.5.1")
        assert len(running.queue.jobs) == 2
        assert running.counted("relay_messages_total", result="refused") == 1


@pytest.mark.parametrize("trouble", ["queue away", "queue refuses", "bucket away", "content refused", "From refused"])
async def test_what_was_not_committed_does_not_count(files: Files, trouble: str) -> None:
    async with counted(files, ("hour", "messages", 2), ("day", "recipients", 2)) as (running, _):
        account = running.accounts.credentials[USER].account
        become(running, quotas=account.quotas, check_from=True)
        peer, content = await running.signed_in(), MESSAGE
        match trouble:
            case "queue away":
                running.queue.fault = Unavailable("SQS: away")
            case "queue refuses":
                running.queue.refusal = "InternalError"
            case "bucket away":
                running.bodies.fault, content = Unavailable("S3: away"), MESSAGE + b"x\r\n" * 300_000
            case "content refused":
                content = MESSAGE + b"\0"
            case _:
                content = b"From: me@evil.example\r\n\r\nx"
        for _ in range(4):
            assert (await peer.submit(content))[:3] in {"451", "550"}
        running.queue.fault = running.queue.refusal = running.bodies.fault = None
        for _ in range(2):
            assert (await peer.submit(MESSAGE)).startswith("250 ")
        await peer.ask("MAIL FROM:<me@example.com>", "452 4.7.1")


async def test_a_message_whose_client_left_during_the_commit_counts(files: Files) -> None:
    async with counted(files, ("hour", "messages", 2)) as (running, _):
        peer = await running.signed_in()
        assert (await peer.submit(MESSAGE)).startswith("250 ")
        running.queue.answers.clear()
        running.queue.asked.clear()
        await peer.envelope()
        peer.send(MESSAGE + b"\r\n.\r\n")
        await running.queue.asked.wait()
        peer.writer.transport.abort()
        running.queue.answers.set()
        await until(lambda: len(running.queue.jobs) == 2)
        await (await running.signed_in()).ask("MAIL FROM:<me@example.com>", HOURLY)


async def test_a_quota_that_is_set_now_holds_from_the_next_message_on(files: Files) -> None:
    async with counted(files) as (running, _):
        peer = await running.signed_in()
        assert (await peer.submit(MESSAGE)).startswith("250 ")
        become(running, quotas=(Quota("hour", "messages", 2),))
        running.hear("account", ACCOUNT.id)
        for _ in range(2):
            assert (await peer.submit(MESSAGE)).startswith("250 ")
        await peer.ask("MAIL FROM:<me@example.com>", HOURLY)
