"""SES's events, from their queue to the database."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from backing.aftermath import Aftermath
from backing.ids import new_id
from backing.metrics import EventMetrics
from backing.postgres.events import Events, Recorded
from backing.sqs import Queue
from mail.errors import Unavailable
from mail.events.event import Kind, ProviderEvent
from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG
from tests.backing.mailbook import Mailbook, event, events_of
from tests.mail.events.calls import event_bridge, ses_bounce, ses_complaint, ses_delivery, sns
from tests.waiting import until
from tests.worker.house import Post
from worker import events as module
from worker.events import EventConsumer, EventKeeper

pytestmark = pytest.mark.anyio


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


def about(message: UUID, call: dict[str, Any], channel: str = "main") -> dict[str, Any]:
    tags = {MESSAGE_TAG: [str(message)], RECIPIENT_TAG: ["0"], "ses:configuration-set": [channel]}
    return {**call, "mail": {**call["mail"], "messageId": f"ses-{message}", "tags": tags}}


@dataclass
class Parts:
    """What a test has of the consumer."""

    consumer: EventConsumer
    registry: CollectorRegistry
    post: Post

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"{name}_total", labels) or 0


@asynccontextmanager
async def parts(post: Post, events: Any, poll_seconds: int = 0) -> AsyncIterator[Parts]:
    registry = CollectorRegistry()
    async with post.sqs() as sqs:
        queue = Queue(sqs, post.queue_url)
        yield Parts(EventConsumer(queue, events, Aftermath(EventMetrics(registry)), poll_seconds), registry, post)


async def test_events_of_every_wrapping_are_recorded_and_taken_off_the_queue(book: Mailbook, post: Post) -> None:
    provider = book.provider(configuration_set="main")
    other = book.provider(configuration_set="bulk")
    messages = [book.mail(provider), book.mail(provider), book.mail(other)]
    await post.put(
        json.dumps(sns(about(messages[0], ses_delivery()))),
        json.dumps(about(messages[1], ses_bounce())),
        json.dumps(event_bridge(about(messages[2], ses_complaint(), "bulk"))),
        json.dumps(sns("Successfully validated SNS topic for Amazon SES event publishing.")),
    )
    async with events_of(book.url) as events, parts(post, events) as its:
        while await its.consumer.round():
            pass
    assert [book.states(message) for message in messages] == [["delivered"], ["bounced"], ["complained"]]
    assert await post.counts() == (0, 0)
    assert {row[2] for row in book.suppressed()} == {"b@far.example"}
    assert its.counted("provider_events", kind="delivered", effect="applied") == 1
    assert its.counted("provider_events_suppressed", reason="bounce") == 1
    assert its.counted("provider_events_unread", reason="ignored") == 1


async def test_what_sqs_brings_again_does_nothing(book: Mailbook, post: Post) -> None:
    message = book.mail(book.provider())
    text = json.dumps(sns(about(message, ses_delivery())))
    await post.put(text, text)
    async with events_of(book.url) as events, parts(post, events) as its:
        while await its.consumer.round():
            pass
    assert its.counted("provider_events", kind="delivered", effect="applied") == 1
    assert its.counted("provider_events", kind="delivered", effect="duplicate") == 1
    assert await post.counts() == (0, 0)


async def test_poison_is_set_aside_by_the_queue_and_spoils_nothing(
    book: Mailbook, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MALFORMED_SECONDS", 0.0)
    message, other = book.mail(book.provider()), new_id()
    bad = about(message, ses_bounce())
    bad["bounce"]["bouncedRecipients"].append({"emailAddress": "nobody"})
    await post.set_aside_after(2)
    await post.put("junk", json.dumps(sns(bad)), json.dumps(about(message, ses_delivery())))
    await post.put(json.dumps(about(other, ses_delivery())))
    async with events_of(book.url) as events, parts(post, events) as its:
        with capture_logs() as logs:
            for _ in range(4):
                await its.consumer.round()
    assert sorted(await post.aside()) == sorted(["junk", json.dumps(sns(bad))])
    assert await post.counts() == (0, 0)
    assert {tuple(line["reasons"]) for line in logs if line["event"] == "event refused"} == {
        ("not JSON: JSONDecodeError",),
        ("Message.bounce.bouncedRecipients[1].emailAddress is no address",),
    }
    assert its.counted("provider_events", kind="delivered", effect="unmatched") == 1
    assert book.states(message) == ["delivered"]


async def test_an_event_whose_provider_is_not_known_is_kept_if_it_is_about_our_mail(
    book: Mailbook, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MALFORMED_SECONDS", 0.0)
    book.provider(configuration_set="a")
    book.provider(configuration_set="b")
    ours, foreign = about(new_id(), ses_delivery()), ses_delivery(tags={})
    await post.put(json.dumps(ours), json.dumps(foreign))
    async with events_of(book.url) as events, parts(post, events) as its:
        with capture_logs() as logs:
            await its.consumer.round()
    assert await post.counts() == (1, 0)
    assert [line["event"] for line in logs] == ["event of an unknown provider"]
    assert its.counted("provider_events_unread", reason="foreign") == 2
    assert book.run("SELECT count(*) FROM provider_event") == [(0,)]


@dataclass
class Faulty:
    """Records what it can, after the faults that it is given."""

    events: Events
    faults: list[Exception] = field(default_factory=list)
    poison: str = ""

    async def ses_providers(self, events: list[ProviderEvent]) -> list[UUID | None]:
        if self.faults:
            raise self.faults.pop()
        if self.poison and any(event.text == self.poison for event in events):
            raise ValueError(self.poison)
        return await self.events.ses_providers(events)

    async def record(self, provider_id: UUID, events: list[ProviderEvent]) -> list[Recorded]:
        return await self.events.record(provider_id, events)


async def test_while_the_database_is_away_what_is_in_hand_is_kept(
    book: Mailbook, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    message = book.mail(book.provider())
    await post.put(json.dumps(about(message, ses_delivery())))
    await post.set_aside_after(1)
    faults: list[Exception] = [Unavailable("away"), Unavailable("away")]
    async with events_of(book.url) as events, parts(post, Faulty(events, faults)) as its:
        assert await its.consumer.round() == 1
    assert faults == []
    assert (book.states(message), await post.counts(), await post.aside()) == (["delivered"], (0, 0), {})


async def test_one_that_cannot_be_recorded_does_not_keep_the_others(
    book: Mailbook, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MALFORMED_SECONDS", 0.0)
    message = book.mail(book.provider())
    bad = about(message, ses_bounce(diagnosticCode="poison"))
    await post.put(json.dumps(bad), json.dumps(about(message, ses_delivery())))
    async with events_of(book.url) as events, parts(post, Faulty(events, poison="poison")) as its:
        with capture_logs() as logs:
            await its.consumer.round()
            await its.consumer.round()
    assert (book.states(message), await post.counts()) == (["delivered"], (1, 0))
    assert {line["event"] for line in logs} == {"event not recorded"}


async def test_it_runs_beside_others_until_its_block_ends(book: Mailbook, post: Post) -> None:
    # Of several providers none has the configuration set: the one that was asked is the right one.
    messages = [book.mail(book.provider()) for _ in range(3)]
    async with events_of(book.url) as events, parts(post, events) as its, its.consumer.running(asyncio.Event()):
        for message in messages:
            await post.put(json.dumps(about(message, ses_delivery(), "main")))
        await until(lambda: [book.states(message) for message in messages] == [["delivered"]] * 3)
        async with asyncio.timeout(10):
            while await post.counts() != (0, 0):  # noqa: ASYNC110 - SQS tells nobody
                await asyncio.sleep(0.02)


@pytest.mark.requirement("SC-10.3")
async def test_what_the_last_polls_bring_is_given_back_at_once(book: Mailbook, post: Post) -> None:
    message = book.mail(book.provider())
    text = json.dumps(about(message, ses_delivery()))
    async with (
        post.sqs() as sqs,
        events_of(book.url) as events,
        parts(post, events, 3) as its,
        asyncio.TaskGroup() as tasks,
        its.consumer.running(asyncio.Event()),
    ):
        await until(lambda: len(its.consumer._polling) == 2)  # noqa: SLF001 - nothing else shows it
        tasks.create_task(sqs.send_message(QueueUrl=post.queue_url, MessageBody=text))
    async with post.sqs() as sqs:
        told = ["ApproximateReceiveCount"]
        answer = await sqs.receive_message(QueueUrl=post.queue_url, WaitTimeSeconds=3, AttributeNames=told)
    # One poll had it, or one after the other.
    assert [each["Attributes"][told[0]] in {"2", "3"} for each in answer["Messages"]] == [True]
    assert book.states(message) == ["accepted"]


async def test_when_the_worker_is_to_stop_the_polls_under_way_are_the_last(book: Mailbook, post: Post) -> None:
    messages, soon = [book.mail(book.provider()) for _ in range(3)], asyncio.Event()
    async with events_of(book.url) as events, parts(post, events, 3) as its, its.consumer.running(soon):
        polling = its.consumer._polling  # noqa: SLF001 - nothing else shows it
        await until(lambda: len(polling) == 2)
        soon.set()
        for message in messages[:2]:
            await post.put(json.dumps(about(message, ses_delivery())))
        await until(lambda: [book.states(message) for message in messages[:2]] == [["delivered"]] * 2)
        await until(lambda: not polling)
        await post.put(json.dumps(about(messages[2], ses_delivery())))
    assert (book.states(messages[2]), await post.counts()) == (["accepted"], (1, 0))


async def test_a_queue_that_is_away_is_asked_again(book: Mailbook, post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    message, faults = book.mail(book.provider()), [Unavailable("away"), ValueError("odd")]
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.02)
    await post.put(json.dumps(about(message, ses_delivery())))
    async with events_of(book.url) as events, parts(post, events) as its:
        receive = its.consumer._queue.receive  # noqa: SLF001 - the queue fails where only it is seen

        async def failing(most: int, wait: int, lease: float) -> Any:
            if faults:
                raise faults.pop()
            return await receive(most, wait, lease)

        monkeypatch.setattr(its.consumer._queue, "receive", failing)  # noqa: SLF001
        async with its.consumer.running(asyncio.Event()):
            await until(lambda: book.states(message) == ["delivered"])
    assert faults == []


async def test_early_events_are_looked_at_again_and_old_ones_are_forgotten(book: Mailbook) -> None:
    provider, registry = book.provider(), CollectorRegistry()
    early = event(Kind.DELIVERED, provider_message_id="1")
    async with events_of(book.url) as events:
        await events.record(provider, [early, event(Kind.OPENED), event(Kind.BOUNCED, provider_message_id="2")])
        book.run("UPDATE provider_event SET received_at = now() - interval '9 days' WHERE kind = 'opened'")
        message = book.mail(provider, named="1")
        book.hurry()
        keeper = EventKeeper(events, Aftermath(EventMetrics(registry)), 0.01, 8 * 86_400)
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(keeper.run())
            await until(lambda: book.run("SELECT count(*) FROM provider_event") == [(2,)])
            task.cancel()
    assert book.states(message) == ["delivered"]
    applied = {"kind": "delivered", "effect": "applied"}
    assert registry.get_sample_value("provider_events_total", applied) == 1
    assert registry.get_sample_value("provider_events_total", {"kind": "bounced", "effect": "unmatched"}) is None
