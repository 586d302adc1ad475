"""Orders for many messages, over the API."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.backing.mailbook import BAKERY, Mailbook
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/message-orders"
CANCEL: dict[str, Any] = {"order": "cancel", "filter": {"state": "deferred"}}


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen()) as serves:
        yield serves


def noted(book: Mailbook) -> list[tuple[Any, ...]]:
    return book.run("SELECT action, subject, account_id FROM audit_log ORDER BY id")


async def test_many_are_told_first_and_cancelled_then_page_by_page(door: Door, book: Mailbook) -> None:
    shop, bakery = book.provider(), book.provider(BAKERY)
    mails = [book.mail(shop, "deferred", "b@far.example", delivery="deferred") for _ in range(3)]
    busy = book.mail(shop, "deferred", "b@far.example", delivery="sending")
    sent = book.mail(shop, "accepted")
    foreign = book.mail(bakery, "deferred", delivery="deferred", account_id=BAKERY)
    key = await door.key("shop", "messages:manage")
    ids = [str(each) for each in (busy, *reversed(mails))]
    dry = await door.post(PATH, key, json=CANCEL)
    assert (dry.status, dry.json) == (
        200,
        {"dry_run": True, "count": 4, "ids": ids, "recipients": 4, "refused": [], "next": None},
    )
    assert (book.states(mails[0]), noted(book)) == (["deferred"], [])
    doing = {**CANCEL, "dry_run": False, "limit": 2}
    first = (await door.post(PATH, key, json=doing)).json
    why = f"message {busy} is being sent; try again in a moment"
    assert first == {
        "dry_run": False,
        "count": 2,
        "ids": ids[1:2],
        "recipients": 1,
        "refused": [{"id": ids[0], "why": why}],
        "next": first["next"],
    }
    rest = (await door.post(PATH, key, json={**doing, "cursor": first["next"]})).json
    assert (rest["ids"], rest["recipients"], rest["refused"]) == (ids[2:], 2, [])
    assert [book.states(each) for each in (*mails, busy, sent, foreign)] == [
        *[["cancelled"]] * 3,
        ["deferred"],
        ["accepted"],
        ["deferred"],
    ]
    asked = ("message.cancel.many", '{"state":"deferred"}', UUID(int=1))
    assert noted(book) == [
        asked,
        ("message.cancel", ids[1], UUID(int=1)),
        asked,
        *[("message.cancel", each, UUID(int=1)) for each in ids[2:]],
    ]


async def test_a_filter_finds_what_it_names(door: Door, book: Mailbook) -> None:
    shop = book.provider()
    mine, other, old = (
        book.mail(shop, "deferred", f"{name}@far.example", delivery="deferred") for name in ("b", "c", "b")
    )
    book.run("UPDATE message SET accepted_at = now() - interval '1 day' WHERE id = %s", old)
    [(today,)] = book.run("SELECT now() - interval '1 hour'")
    key = await door.key("shop")

    async def found(**filters: str) -> list[str]:
        asked = {"order": "cancel", "filter": {"state": "deferred", **filters}}
        found: list[str] = (await door.post(PATH, key, json=asked)).json["ids"]
        return found

    assert await found(recipient="B@far.example") == [str(mine), str(old)]
    assert await found(since=today.isoformat()) == [str(other), str(mine)]
    assert await found(until=today.isoformat()) == [str(old)]
    assert await found(message_id="<nobody@far.example>") == []


async def test_many_are_sent_another_way(door: Door, book: Mailbook) -> None:
    shop = book.provider()
    both = book.mail(shop, "deferred", "b@far.example", "c@far.example", delivery="deferred")
    book.run("UPDATE message SET body_bucket = 'bodies', body_key = '1' WHERE id = %s", both)
    busy = book.mail(shop, "deferred", delivery="sending")
    other, key = book.provider(), await door.key("shop", "messages:manage")
    asked = {"order": "reroute", "filter": {"state": "deferred"}, "provider": "ses-2"}
    dry = (await door.post(PATH, key, json=asked)).json
    assert (dry["ids"], dry["recipients"]) == ([str(busy), str(both)], 3)
    done = (await door.post(PATH, key, json={**asked, "dry_run": False})).json
    why = f"message {busy} is being sent; try again in a moment"
    assert (done["ids"], done["recipients"], done["refused"]) == (
        [str(both)],
        2,
        [{"id": str(busy), "why": why}],
    )
    ways = book.run("SELECT state, by_order FROM recipient WHERE message_id = %s ORDER BY n", both)
    assert ways == [("queued", other)] * 2
    assert noted(book) == [
        ("message.reroute.many", '{"state":"deferred"}', UUID(int=1)),
        ("message.reroute", str(both), UUID(int=1)),
    ]


async def test_an_order_is_for_those_of_one_account_who_may(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(BAKERY), "deferred", delivery="deferred", account_id=BAKERY)
    doing = {**CANCEL, "dry_run": False}
    key, reader, operator = await door.key("shop"), await door.key("bakery", "messages:read"), await door.key()
    assert (await door.post(PATH, key, json=doing)).json["count"] == 0
    answers = [
        (await door.post(f"{PATH}?account=bakery", key, json=doing)).status,
        (await door.post(PATH, reader, json=doing)).status,
        (await door.post(PATH, operator, json=doing)).status,
    ]
    assert answers == [404, 403, 422]
    assert book.states(message) == ["deferred"]
    done = await door.post(f"{PATH}?account=bakery", operator, json=doing)
    assert (done.json["ids"], book.states(message)) == ([str(message)], ["cancelled"])
    for wrong in (
        {"order": "release", "filter": {"state": "deferred"}},
        {"order": "fly", "filter": {"state": "held"}},
        {"order": "cancel", "filter": {}},
        {"order": "reroute", "filter": {"state": "unknown"}, "provider": "ses-1"},
        {**CANCEL, "provider": "ses-1"},
        {**CANCEL, "limit": 101},
        {**CANCEL, "cursor": "x"},
        {**CANCEL, "dry_run": "no"},
    ):
        assert (await door.post(PATH, key, json=wrong)).status == 422, wrong
