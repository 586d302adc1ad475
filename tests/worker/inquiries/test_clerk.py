"""Questions are taken by one worker each, given back by its lease, and never sent twice."""

import asyncio
import signal
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from prometheus_client import CollectorRegistry

from backing.admin.desk import AdminError, NotFound, TooOften
from backing.aws import Aws
from backing.ids import new_id, now
from backing.metrics import OutboxMetrics
from backing.notices import Notice
from backing.postgres.inquiries import LEASE_SECONDS, MOST_TRIES, PATIENCE_SECONDS, Inquiries
from backing.postgres.retention import Records
from backing.s3 import Bodies
from backing.stop import Stop
from mail.ids import uuid7
from mail.inquiries import MOST_TESTS, InquiryState, Verdict
from tests.conftest import REGION
from tests.waiting import until
from tests.worker.house import Post, environment
from tests.worker.inquiries.office import OPEN, SECONDS, Office
from tests.worker.peer import HANG, Peer
from tests.worker.test_process import started
from worker.inquiries.trial import DEADLINE_SECONDS
from worker.retention import Retention, Terms

pytestmark = [pytest.mark.anyio, pytest.mark.long]

MAIL = {"from_": "a@shop.example", "to": "b@far.example"}


def test_an_answer_is_given_up_long_before_its_lease_is_over() -> None:
    assert DEADLINE_SECONDS <= LEASE_SECONDS / 2


async def test_a_question_is_taken_once(office: Office) -> None:
    await office.provider("sandbox", {})
    asked = [await office.ask() for _ in range(3)]
    inquiries = Inquiries(office.worker)
    taken = await asyncio.gather(*(inquiries.take(2) for _ in range(4)))
    assert sorted(each.id for part in taken for each in part) == sorted(asked)


@pytest.mark.parametrize("mail", [{}, MAIL])
async def test_killed_in_its_midst(office: Office, post: Post, mail: dict[str, str]) -> None:
    """Without a mail the next worker makes the test; with one nobody makes it again."""
    script: dict[str, Any] = {".": [HANG, "250 taken"]} if mail else {"EHLO": [HANG, "250 ok"]}
    async with Peer(script).serving() as met:
        await office.provider("smtp", met.config | {"timeout": 60})
        test = await office.ask(**mail)
        with started(environment(office.books.url, post)) as process:
            reached = (lambda: met.messages) if mail else (lambda: met.commands)
            await until(lambda: office.state(test) == "taken" and reached(), SECONDS)
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        async with office.answering():
            await asyncio.sleep(0.5)
            assert office.state(test) == "taken", "its lease holds still"
            office.lose_leases()
            await until(lambda: office.state(test) not in OPEN, SECONDS)
        told = await office.told(test)
    assert told["state"] == ("unknown" if mail else "done")
    assert len(met.messages) == len(mail) // 2
    if mail:
        assert told["outcome"]["words"].startswith("The worker that made the test ended in its midst")


async def test_an_answer_that_comes_too_late_counts_no_more(office: Office) -> None:
    await office.provider("sandbox", {})
    test, inquiries = await office.ask(), Inquiries(office.worker)
    (first,) = await inquiries.take(1)
    office.lose_leases()
    (second,) = await inquiries.take(1)
    late = Verdict(state=InquiryState.FAILED, words="late")
    assert not await inquiries.record(first, late)
    assert await inquiries.record(second, Verdict(state=InquiryState.DONE, words="in time"))
    assert not await inquiries.record(second, late)
    told = await office.told(test)
    assert (told["state"], told["outcome"]["words"]) == ("done", "in time")


async def test_what_ends_workers_is_given_up(office: Office) -> None:
    await office.provider("sandbox", {})
    test, inquiries = await office.ask(), Inquiries(office.worker)
    for _ in range(MOST_TRIES):
        assert len(await inquiries.take(1)) == 1
        office.lose_leases()
    assert await inquiries.take(1) == []
    told = await office.told(test)
    assert (told["state"], told["outcome"]) == (
        "failed",
        {
            "words": "3 workers ended while they were at it. Look for the reason in their log, by the id of this.",
        },
    )


async def test_a_test_that_nobody_took_in_time_is_not_made_late(office: Office) -> None:
    async with Peer().serving() as met:
        await office.provider("smtp", met.config)
        test = await office.ask(**MAIL)
        office.books.run("UPDATE inquiry SET asked_at = now() - make_interval(secs => %s)", PATIENCE_SECONDS + 1)
        told = await office.answer(test)
    assert told["state"] == "failed"
    assert told["outcome"]["words"].startswith("No worker took it within 120 s")
    assert met.sessions == 0


async def test_four_are_answered_at_a_time(office: Office) -> None:
    async with Peer({"banner": HANG}).serving() as met:
        await office.provider("smtp", met.config)
        for _ in range(MOST_TESTS):
            await office.ask()
        async with office.answering(deadline=2.0):
            await until(lambda: met.sessions == 4, SECONDS)
            taken = office.books.run("SELECT count(*) FROM inquiry WHERE state = 'taken'")
            await until(lambda: met.sessions == MOST_TESTS, SECONDS)
    assert taken == [(4,)]


async def test_a_notice_is_quicker_than_a_look(office: Office) -> None:
    await office.provider("sandbox", {})
    async with office.answering(every=600) as clerk:
        first = await office.ask()
        clerk.hear(Notice("routing", "*"))
        await asyncio.sleep(0.3)
        before = office.state(first)
        clerk.hear(Notice("inquiry", "*"))
        await until(lambda: office.state(first) == "done", SECONDS)
    assert before in {"waiting", "done"}, "the first look may have come after it"


async def test_what_is_in_hand_is_answered_before_a_worker_leaves(office: Office) -> None:
    async with Peer(delay=0.3).serving() as met:
        await office.provider("smtp", met.config)
        test, stop = await office.ask(), Stop()
        async with office.clerk().running(stop):
            await until(lambda: met.commands, SECONDS)
            stop.ask()
            later = await office.ask()
    assert (office.state(test), office.state(later)) == ("done", "waiting")


async def test_a_worker_that_leaves_waits_for_no_further_look(office: Office) -> None:
    await office.provider("sandbox", {})
    stop = Stop()
    async with asyncio.timeout(SECONDS):
        async with office.clerk(every=600).running(stop):
            await office.ask()
            await asyncio.sleep(0.1)
            stop.ask()


async def test_nobody_hammers_a_provider(office: Office) -> None:
    await office.provider("sandbox", {})
    for _ in range(MOST_TESTS):
        await office.ask()
    with pytest.raises(
        TooOften, match=r"provider 'main' was tested 6 times in 60 seconds; try again in [56]\d seconds"
    ):
        await office.ask()
    office.books.run("UPDATE inquiry SET asked_at = now() - interval '61 seconds'")
    await office.ask()


async def test_many_who_ask_at_once_are_counted_one_by_one(office: Office) -> None:
    await office.provider("sandbox", {})
    answers = await asyncio.gather(*(office.ask() for _ in range(3 * MOST_TESTS)), return_exceptions=True)
    assert sum(isinstance(each, UUID) for each in answers) == MOST_TESTS
    assert sum(isinstance(each, TooOften) for each in answers) == 2 * MOST_TESTS


@pytest.mark.parametrize(
    ("sender", "to", "why"),
    [
        ("a@else.example", "b@far.example", "from: the account may not send from else.example; allowed: shop.example"),
        ("a@sub.shop.example", "b@far.example", "the account may not send from sub.shop.example"),
        ("a@shop.example", "b", "to: Bad address: an address needs a local part, @ and a domain"),
        ("a@shop.example\r\nBcc: c@x.example", "b@far.example", "from: "),
        ("ä@shop.example", "b@far.example", "addresses of ASCII only"),
    ],
)
async def test_a_mail_goes_from_and_to_addresses_that_a_submission_could_have(
    office: Office, sender: str, to: str, why: str
) -> None:
    await office.provider("sandbox", {})
    with pytest.raises(AdminError, match=why):
        await office.ask(from_=sender, to=to)
    assert office.books.run("SELECT count(*) FROM inquiry") == [(0,)]


async def test_a_provider_sends_for_its_own_domains_only(office: Office) -> None:
    await office.provider("sandbox", {}, allowed_domains=("other.example",))
    with pytest.raises(AdminError, match=r"'main' does not send for this sender: from: shop\.example is none of"):
        await office.ask(**MAIL)


async def test_a_test_is_its_own_providers(office: Office) -> None:
    await office.provider("sandbox", {})
    test = await office.ask()
    for account, name in (("shop", "other"), (None, "main")):
        with pytest.raises(NotFound):
            await office.asking.show_test(account, name, test)
    with pytest.raises(NotFound):
        await office.asking.test(None, "main", "tester", {})


async def test_old_questions_are_forgotten(office: Office, post: Post) -> None:
    await office.provider("sandbox", {})
    old, kept = await office.ask(), await office.ask()
    moment = int((now() - timedelta(days=8)).timestamp() * 1000)
    office.books.run("UPDATE inquiry SET id = %s WHERE id = %s", uuid7(moment, new_id().bytes[:10]), old)
    async with Aws(REGION).s3() as s3:
        bodies, metrics = Bodies(s3, post.bucket), OutboxMetrics(CollectorRegistry())
        terms = Terms(mail_days=7, event_days=30, pause=0)
        await Retention(Records(office.worker), bodies, bodies, metrics, terms, now).sweep()
    assert office.books.run("SELECT id FROM inquiry") == [(kept,)]


async def test_what_goes_takes_its_questions_along(office: Office) -> None:
    provider = await office.provider("sandbox", {})
    await office.ask()
    office.books.run("UPDATE account SET default_provider_id = NULL")
    office.books.run("DELETE FROM provider WHERE id = %s", provider)
    assert office.books.run("SELECT count(*) FROM inquiry") == [(0,)]
