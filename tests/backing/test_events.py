"""What providers tell, in a real PostgreSQL."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import Any

import psycopg
import pytest

from backing.ids import new_id
from backing.postgres.events import Recorded
from backing.postgres.pool import Connection
from mail.events.effects import Effect
from mail.events.event import Bounce, Cause, Kind
from mail.events.reading import MAX_ADDRESS, MAX_NAME, MAX_TEXT
from mail.states import State
from tests.backing.mailbook import BAKERY, BEGIN, SHOP, Mailbook, effects, event, events_of
from tests.waiting import until

pytestmark = pytest.mark.anyio

ACCEPTED, DEFERRED, DELIVERED, BOUNCED = Kind.ACCEPTED, Kind.DEFERRED, Kind.DELIVERED, Kind.BOUNCED
COMPLAINED, UNSUBSCRIBED = Kind.COMPLAINED, Kind.UNSUBSCRIBED
HARD: dict[str, Any] = {
    "bounce": Bounce.HARD,
    "suppress": Cause.BOUNCE,
    "code": 550,
    "enhanced": "5.1.1",
    "text": "unknown user",
}


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


async def test_an_event_with_our_tags_moves_its_recipient(book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "accepted", "b@far.example", "c@far.example")
    told = event(DELIVERED, message, n=1, code=250, enhanced="2.0.0", text="250 2.0.0 OK", provider_message_id="ses-1")
    async with events_of(book.url) as events:
        (recorded,) = await events.record(provider, [told])
    assert recorded == Recorded(
        provider_id=provider,
        event=told,
        effect=Effect.APPLIED,
        account_id=SHOP,
        message_id=message,
        n=1,
        before=State.ACCEPTED,
        after=State.DELIVERED,
    )
    row = "SELECT state, code, enhanced, reply, provider_message_id, event_at FROM recipient WHERE n = 1"
    assert book.run(row) == [("delivered", 250, "2.0.0", "250 2.0.0 OK", "ses-1", BEGIN)]
    assert book.states(message) == ["accepted", "delivered"]
    row = "SELECT account_id, message_id, n, kind, address, occurred_at, effect, look_at FROM provider_event"
    assert book.run(row) == [(SHOP, message, 1, "delivered", "b@far.example", BEGIN, "applied", None)]


@pytest.mark.parametrize(("named", "address"), [("1@ses", "B@Far.Example"), ("<1@ses>", "b@far.example")])
async def test_an_event_without_tags_is_matched_by_the_providers_name(book: Mailbook, named: str, address: str) -> None:
    provider, other = book.provider(), book.provider()
    message = book.mail(provider, "accepted", "c@far.example", "b@far.example", named=named)
    elsewhere = book.mail(other, "accepted", named=named)
    told = event(DELIVERED, address=address, provider_message_id="1@ses")
    unknown = replace(told, id="2", address="d@far.example"), replace(told, id="3", provider_message_id="2@ses")
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [told, *unknown])) == ["applied", "unmatched", "unmatched"]
    assert (book.states(message), book.states(elsewhere)) == (["accepted", "delivered"], ["accepted"])


async def test_mail_that_was_redirected_is_matched_by_where_it_went(book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "accepted", named="1")
    book.run("UPDATE recipient SET redirected_to = 'trap@shop.example'")
    told = event(BOUNCED, address="trap@shop.example", provider_message_id="1", **HARD)
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [told])) == ["applied"]
    assert book.states(message) == ["bounced"]
    assert book.suppressed() == [("shop", "", "trap@shop.example", "bounce", "ses-1")]


async def test_an_event_that_is_told_again_does_nothing(book: Mailbook) -> None:
    provider, other = book.provider(), book.provider()
    told = event(DELIVERED, book.mail(provider))
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [told, told])) == ["applied", "duplicate"]
        assert effects(await events.record(provider, [told])) == ["duplicate"]
        assert effects(await events.record(other, [told])) == ["stale"]
        assert await events.record(provider, []) == []


async def test_a_call_that_came_before_tells_nothing_new(book: Mailbook) -> None:
    provider, other = book.provider(), book.provider()
    message = book.mail(provider)
    forged = event(BOUNCED, message, **HARD)
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [event(DELIVERED, message)], "call-1")) == ["applied"]
        assert effects(await events.record(provider, [forged], "call-1")) == ["duplicate"]
        assert book.states(message) == ["delivered"]
        assert effects(await events.record(other, [event(DELIVERED)], "call-1")) == ["unmatched"]
        assert effects(await events.record(provider, [forged], "call-2")) == ["applied"]


@pytest.mark.parametrize("begin", ["accepted", "unknown"])
async def test_any_order_and_any_number_of_events_ends_in_the_same_state(book: Mailbook, begin: str) -> None:
    provider, chance = book.provider(), random.Random(7)
    async with events_of(book.url) as events:
        for most, last in ((DELIVERED, "delivered"), (BOUNCED, "bounced"), (COMPLAINED, "complained")):
            kinds = [ACCEPTED, DEFERRED, DELIVERED, BOUNCED, COMPLAINED]
            kinds = kinds[: kinds.index(most) + 1]
            for order in chance.sample(list(permutations(kinds)), 6):
                message = book.mail(provider, begin, delivery="unknown" if begin == "unknown" else "done")
                told = [event(kind, message, seconds=kinds.index(kind)) for kind in order]
                told += chance.sample(told, 2)
                cut = chance.randrange(len(told))
                await events.record(provider, told[:cut])
                await events.record(provider, told[cut:])
                assert (book.states(message), book.delivery(message)[0]) == ([last], "done"), order


async def test_what_an_event_tells_resolves_an_unknown_outcome(book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "unknown", "b@far.example", "c@far.example", delivery="unknown")
    async with events_of(book.url) as events:
        (recorded,) = await events.record(provider, [event(DEFERRED, message, code=421, text="421 later")])
        assert (recorded.effect, recorded.before, recorded.after) == (Effect.APPLIED, State.UNKNOWN, State.ACCEPTED)
        assert book.run("SELECT state, code, reply FROM recipient WHERE n = 0") == [("accepted", None, "421 later")]
        assert book.delivery(message) == ("unknown", False, False)
        assert effects(await events.record(provider, [event(BOUNCED, message, n=1)])) == ["applied"]
    assert book.states(message) == ["accepted", "bounced"]
    assert book.delivery(message) == ("done", True, True)


@pytest.mark.parametrize("state", ["queued", "sending", "unknown"])
async def test_an_event_that_overtakes_the_workers_result_waits_for_it(book: Mailbook, state: str) -> None:
    provider = book.provider()
    message = book.mail(provider, state, delivery="sending")
    told = event(BOUNCED, message, **HARD)
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [told])) == ["waiting"]
        assert await events.rematch(10) == []
        book.hurry()
        assert effects(await events.rematch(10)) == ["waiting"]
        # A lease may be long; what follows an unknown outcome does not wait that long.
        book.age(timedelta(minutes=20))
        book.hurry()
        await events.rematch(10)
        assert book.run("SELECT look_at <= now() + interval '30 seconds' FROM provider_event") == [(True,)]
        assert (book.states(message), book.delivery(message), book.suppressed()) == (
            [state],
            ("sending", False, False),
            [],
        )
        book.run("UPDATE recipient SET state = 'accepted'")
        book.run("UPDATE delivery SET state = 'done'")
        book.hurry()
        (recorded,) = await events.rematch(10)
        assert (recorded.effect, recorded.event, recorded.suppressed) == (Effect.APPLIED, told, True)
        book.hurry()
        assert await events.rematch(10) == []
    assert book.states(message) == ["bounced"]


async def test_a_lost_workers_mail_is_resolved_once_its_outcome_is_called_unknown(book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "sending", delivery="sending")
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [event(DELIVERED, message)])) == ["waiting"]
        book.run("UPDATE recipient SET state = 'unknown'")
        book.run("UPDATE delivery SET state = 'unknown'")
        book.hurry()
        assert effects(await events.rematch(10)) == ["applied"]
    assert (book.states(message), book.delivery(message)) == (["delivered"], ("done", True, True))


async def test_an_event_sees_what_a_worker_claims_meanwhile(book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "unknown", delivery="unknown")
    waiters = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    async with events_of(book.url) as events, asyncio.TaskGroup() as tasks:
        with psycopg.connect(book.url) as worker:
            worker.execute("UPDATE delivery SET state = 'sending'")
            recording = tasks.create_task(events.record(provider, [event(DELIVERED, message)]))
            await until(lambda: book.run(waiters) == [(1,)])
        assert effects(await recording) == ["waiting"]
    assert (book.states(message), book.delivery(message)[0]) == (["unknown"], "sending")


async def test_an_event_that_nobody_knows_is_kept_for_an_hour(book: Mailbook) -> None:
    provider = book.provider()
    told = event(DELIVERED, provider_message_id="1"), event(BOUNCED, provider_message_id="2", suppress=Cause.BOUNCE)
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, told)) == ["unmatched"] * 2
        message = book.mail(provider, named="1")
        book.hurry()
        again = await events.rematch(1) + await events.rematch(1)
        assert sorted(effects(again)) == ["applied", "unmatched"]
        assert await events.rematch(1) == []
        book.hurry()
        book.age(timedelta(hours=1))
        assert effects(await events.rematch(10)) == ["unmatched"]
        assert book.run("SELECT count(*) FROM provider_event WHERE look_at IS NOT NULL") == [(0,)]
    assert (book.states(message), book.suppressed()) == (["delivered"], [])


async def test_an_accounts_provider_tells_nothing_of_others_mail(book: Mailbook) -> None:
    theirs, shared = book.provider(BAKERY), book.provider(None)
    message = book.mail(shared, "accepted", named="1")
    forged = event(BOUNCED, message, **HARD), event(BOUNCED, provider_message_id="1", **HARD)
    async with events_of(book.url) as events:
        book.run("UPDATE attempt SET provider_id = %s", theirs)
        assert effects(await events.record(theirs, forged)) == ["unmatched"] * 2
        assert (book.states(message), book.suppressed()) == (["accepted"], [])
        book.run("UPDATE attempt SET provider_id = %s", shared)
        assert effects(await events.record(new_id(), forged)) == ["unmatched"] * 2
        assert effects(await events.record(shared, [forged[0]])) == ["applied"]
    assert (book.states(message), book.suppressed()) == (
        ["bounced"],
        [("shop", "", "b@far.example", "bounce", "ses-2")],
    )


async def test_a_provider_that_was_asked_before_another_has_no_say_but_the_address_is_known(book: Mailbook) -> None:
    first, last = book.provider(), book.provider()
    message = book.mail(last)
    async with events_of(book.url) as events:
        (recorded,) = await events.record(first, [event(BOUNCED, message, **HARD)])
    assert (recorded.effect, recorded.suppressed, book.states(message)) == (Effect.STALE, True, ["accepted"])
    assert book.suppressed() == [("shop", "", "b@far.example", "bounce", "ses-1")]


async def test_who_was_asked_last_is_what_the_attempts_say(book: Mailbook) -> None:
    first, last = book.provider(), book.provider()
    message = book.mail(first, "unknown", "b@far.example", "c@far.example", delivery="unknown")
    # The second one was asked for one recipient only, by a worker that was lost.
    book.run(
        "INSERT INTO attempt (delivery_id, n, account_id, provider_id, worker, started_at, ns)"
        " VALUES (%s, 2, %s, %s, 'w', now(), '{0}')",
        *(message, SHOP, last),
    )
    async with events_of(book.url) as events:
        told = [event(DELIVERED, message, n=n, provider_message_id="x") for n in (0, 1)]
        assert effects(await events.record(first, told)) == ["stale", "applied"]
        assert effects(await events.record(last, told)) == ["applied", "stale"]
    assert (book.states(message), book.delivery(message)[0]) == (["delivered", "delivered"], "done")
    rows = book.run("SELECT provider_id, provider_message_id FROM recipient ORDER BY n")
    assert rows == [(last, "x"), (first, "x")]


@pytest.mark.parametrize(
    ("facts", "entry"),
    [
        ({"kind": BOUNCED, **HARD}, ("", "bounce")),
        ({"kind": BOUNCED, "bounce": Bounce.SOFT}, None),
        ({"kind": Kind.REJECTED, "suppress": Cause.BOUNCE}, ("", "bounce")),
        ({"kind": COMPLAINED, "suppress": Cause.COMPLAINT}, ("", "complaint")),
        ({"kind": UNSUBSCRIBED, "suppress": Cause.UNSUBSCRIBE}, ("news", "unsubscribe")),
        ({"kind": DELIVERED}, None),
    ],
)
async def test_who_does_not_want_mail_gets_none(
    book: Mailbook, facts: dict[str, object], entry: tuple[str, str] | None
) -> None:
    provider = book.provider()
    message = book.mail(provider, "accepted", "Bob@Far.example", stream="news")
    async with events_of(book.url) as events:
        (recorded,) = await events.record(provider, [replace(event(DELIVERED, message), **facts)])  # type: ignore[arg-type]
        await events.record(provider, [event(DELIVERED, message, seconds=9)])
    expected = [("shop", entry[0], "bob@far.example", entry[1], "ses-1")] if entry else []
    assert (book.suppressed(), recorded.suppressed) == (expected, entry is not None)


async def test_nothing_is_suppressed_for_an_account_that_is_no_more_nor_for_a_bare_postmaster(book: Mailbook) -> None:
    shared = book.provider(None)
    gone = book.mail(shared, "accepted", account_id=new_id())
    bare = book.mail(shared, "accepted", "postmaster")
    async with events_of(book.url) as events:
        recorded = await events.record(shared, [event(BOUNCED, message, **HARD) for message in (gone, bare)])
    assert (effects(recorded), book.suppressed()) == (["applied"] * 2, [])


async def test_who_passes_events_on_is_told_in_the_same_transaction(book: Mailbook) -> None:
    provider, heard = book.provider(), list[Recorded]()
    message = book.mail(provider)
    told = event(DELIVERED, message)

    async def tell(connection: Connection, recorded: Sequence[Recorded]) -> None:
        heard.extend(recorded)
        await connection.execute("CREATE TABLE IF NOT EXISTS heard ()")
        if len(heard) == 1:
            raise ValueError

    async with events_of(book.url, tell) as events:
        with pytest.raises(ValueError, match=r"^$"):
            await events.record(provider, [told])
        assert (book.states(message), book.run("SELECT * FROM provider_event")) == (["accepted"], [])
        assert await events.record(provider, [told]) == heard[1:] == heard[:1]
        assert effects(await events.record(provider, [told])) == ["duplicate"]
    assert len(heard) == 2


async def test_many_who_tell_the_same_at_once_do_not_wait_for_each_other_in_a_circle(book: Mailbook) -> None:
    provider = book.provider()
    messages = [book.mail(provider, "accepted", f"{n}@far.example") for n in range(12)]
    told = [event(BOUNCED, message, address=f"{n}@far.example", **HARD) for n, message in enumerate(messages)]
    chance = random.Random(1)
    async with events_of(book.url) as events, asyncio.TaskGroup() as tasks:
        done = [tasks.create_task(events.record(provider, chance.sample(told, 12))) for _ in range(8)]
    found = [each for task in done for each in effects(task.result())]
    assert (found.count("applied"), found.count("duplicate")) == (12, 84)
    assert {tuple(book.states(message)) for message in messages} == {("bounced",)}
    assert len(book.suppressed()) == 12


async def test_two_who_look_again_share_the_work(book: Mailbook) -> None:
    provider = book.provider()
    told = [event(DELIVERED, provider_message_id=str(n)) for n in range(20)]
    async with events_of(book.url) as events:
        await events.record(provider, told)
        for n in range(20):
            book.mail(provider, named=str(n))
        book.hurry()
        both = await asyncio.gather(events.rematch(20), events.rematch(20))
    assert [effect for each in both for effect in effects(each)] == ["applied"] * 20


async def test_old_events_are_forgotten_bit_by_bit(book: Mailbook) -> None:
    provider = book.provider()
    async with events_of(book.url) as events:
        await events.record(provider, [event(DELIVERED) for _ in range(5)], "call")
        book.age(timedelta(days=2))
        await events.record(provider, [event(DELIVERED)])
        assert [await events.forget(86_400, 4) for _ in range(3)] == [4, 2, 0]
    assert book.run("SELECT count(*) FROM provider_event") == [(1,)]


async def test_the_longest_event_has_room(book: Mailbook) -> None:
    provider, wide = book.provider(), "\U0001f600"
    told = event(
        BOUNCED,
        text=wide * MAX_TEXT,
        reason=wide * MAX_NAME,
        address=wide * (MAX_ADDRESS - 1) + "@",
        provider_message_id=wide * MAX_NAME,
        channel=wide * MAX_NAME,
        id="x" * 64,
    )
    async with events_of(book.url) as events:
        assert effects(await events.record(provider, [told])) == ["unmatched"]
        book.hurry()
        (again,) = await events.rematch(1)
    assert again.event == told
