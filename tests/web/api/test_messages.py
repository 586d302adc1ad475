"""Messages over the API: what is told of them, to whom, and what is ordered."""

import time
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from backing.ids import new_id
from backing.postgres.early import MOST
from mail.ids import uuid7
from tests.backing.mailbook import BAKERY, SHOP, Mailbook
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/messages"


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


@pytest.mark.requirement("CORE-API-007")
async def test_a_message_is_told_to_its_account(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred")
    answer = await door.get(f"{PATH}/{message}", await door.key("shop", "messages:read"))
    assert answer.status == 200
    told = answer.json
    assert (told["id"], told["account"], told["state"]) == (str(message), "shop", "pending")
    assert [(each["n"], each["address"], each["state"]) for each in told["recipients"]] == [
        (0, "b@far.example", "deferred"),
        (1, "c@far.example", "deferred"),
    ]
    assert {each["kind"] for each in told["timeline"]} == {"accepted", "queued", "claimed", "attempt"}
    assert told["accepted_at"].endswith("Z")


@pytest.mark.requirement("CORE-API-003")
async def test_foreign_and_unknown_ids_look_the_same(door: Door, book: Mailbook) -> None:
    foreign, unknown = book.mail(book.provider(BAKERY), account_id=BAKERY), new_id()
    key, operator = await door.key("shop"), await door.key()
    for method, rest, status in (
        ("GET", "", 404),
        ("GET", "/raw", 404),
        ("POST", "/release", 404),
        ("POST", "/retry", 404),
        ("POST", "/cancel", 202),
        ("POST", "/hold", 202),
        ("POST", "/release", 202),
    ):
        answers = [
            await door.call(method, f"{PATH}/{each}{rest}", key, headers={"X-Request-Id": "r"})
            for each in (foreign, unknown)
        ]
        assert [answer.status for answer in answers] == [status, status]
        texts = [
            answer.body.replace(str(each).encode(), b"ID")
            for answer, each in zip(answers, (foreign, unknown), strict=True)
        ]
        assert texts[0] == texts[1]
    assert (await door.get(f"{PATH}/{foreign}", operator)).status == 200
    assert (await door.get(PATH, key)).json["items"] == []
    assert (await door.get(f"{PATH}?account=bakery", key)).status == 404
    assert (await door.get(f"{PATH}?account=nobody", key)).status == 404
    assert [each["id"] for each in (await door.get(f"{PATH}?account=bakery", operator)).json["items"]] == [str(foreign)]


async def test_a_list_comes_in_pages(door: Door, book: Mailbook) -> None:
    provider = book.provider()
    sent = [str(book.mail(provider, "accepted", f"{n}@far.example")) for n in range(5)]
    key = await door.key("shop")
    pages, cursor = [], None
    while True:
        params = {"limit": "2", **({"cursor": cursor} if cursor else {})}
        page = (await door.get(PATH, key, params=params)).json
        pages.append([each["id"] for each in page["items"]])
        cursor = page["next"]
        if cursor is None:
            break
    assert pages[:3] == [sent[:2:-1], sent[2:0:-1], sent[:1]]
    found = await door.get(PATH, key, params={"recipient": "3@FAR.example"})
    assert [(each["id"], each["state"], each["states"]) for each in found.json["items"]] == [
        (sent[3], "accepted", {"accepted": 1})
    ]
    for wrong in ({"cursor": "x"}, {"limit": "0"}, {"limit": "201"}, {"since": "2026-11-24T12:00:00"}, {"state": "x"}):
        assert (await door.get(PATH, key, params=wrong)).status == 422


async def test_what_a_provider_calls_it_finds_a_message(door: Door, book: Mailbook) -> None:
    shared, own = book.provider(None), book.provider()
    first, second, other = (
        book.mail(provider, named=name) for provider, name in ((shared, "<p-1@ses>"), (own, "p-1@ses"), (own, "p-2"))
    )
    book.mail(shared, named="p-1@ses", account_id=BAKERY)
    book.run(
        "UPDATE message SET accepted_at = now() - interval '1 day', header_message_id = 'old' WHERE id = %s", first
    )
    [(today,)] = book.run("SELECT now() - interval '1 hour'")
    key = await door.key("shop")

    async def found(**asked: str) -> list[str]:
        return [each["id"] for each in (await door.get(PATH, key, params=asked)).json["items"]]

    assert await found(provider_message_id="p-1@ses") == [str(second), str(first)]
    assert await found(provider_message_id="<p-1@ses>", until=today.isoformat()) == [str(first)]
    assert await found(provider_message_id="p-1@ses", message_id="<old>") == [str(first)]
    assert await found(provider_message_id="p-1@ses", recipient="nobody@far.example") == []
    assert await found(provider_message_id="p-2", since=today.isoformat()) == [str(other)]
    assert await found(until=today.isoformat()) == [str(first)]


async def test_orders_are_carried_out_and_noted(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred")
    key = await door.key("shop", "messages:manage")
    headers = {"headers": {"X-Request-Id": "r-7"}}
    one = await door.post(f"{PATH}/{message}/cancel?recipient=1", key, **headers)
    assert (one.status, one.json) == (200, {"id": str(message), "recipients": [1], "noted": False})
    rest = await door.post(f"{PATH}/{message}/cancel", key)
    assert rest.json["recipients"] == [0]
    again = await door.post(f"{PATH}/{message}/cancel", key)
    assert (again.status, again.json["title"]) == (409, "Conflict")
    retry = await door.post(f"{PATH}/{message}/retry", key)
    assert retry.status == 409
    assert book.states(message) == ["cancelled", "cancelled"]
    rows = book.run("SELECT account_id, actor, action, subject, request, peer FROM audit_log ORDER BY id")
    prefix = key.split("_")[1]
    assert [row[1:4] for row in rows] == [(f"{prefix} test", "message.cancel", str(message))] * 2
    assert (rows[0][0], rows[0][4], rows[0][5]) == (UUID(int=1), "r-7", "127.0.0.1")


async def test_what_waits_is_held_and_let_go(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred")
    key = await door.key("shop", "messages:manage", "messages:raw")
    held = await door.post(f"{PATH}/{message}/hold", key)
    assert (held.status, held.json) == (200, {"id": str(message), "recipients": [0, 1], "noted": False})
    assert book.states(message) == ["held", "held"]
    assert (await door.post(f"{PATH}/{message}/hold", key)).status == 409
    assert (await door.post(f"{PATH}/{message}/release?recipient=1", key)).json["recipients"] == [1]
    assert book.states(message) == ["held", "queued"]
    book.run("UPDATE message SET body_bucket = 'bodies', body_key = '1' WHERE id = %s", message)
    assert (await door.get(f"{PATH}/{message}/raw", key)).status in {404, 503}
    rows = book.run("SELECT action, subject FROM audit_log ORDER BY id")
    assert rows == [(f"message.{verb}", str(message)) for verb in ("hold", "release", "raw")]


async def test_what_is_left_is_sent_another_way(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred")
    book.run("UPDATE message SET body_bucket = 'bodies', body_key = '1'")
    other, foreign = book.provider(), book.provider(BAKERY)
    key, path = await door.key("shop", "messages:manage"), f"{PATH}/{message}/reroute"
    for wrong, status in (({}, 422), ({"provider": "ses-3"}, 409), ({"provider": "nobody"}, 409)):
        assert (await door.post(path, key, json=wrong)).status == status
    theirs = book.mail(foreign, "deferred", account_id=BAKERY, delivery="deferred")
    asked = {"json": {"provider": "ses-2"}}
    answers = [await door.post(f"{PATH}/{each}/reroute", key, **asked) for each in (theirs, UUID(int=7), new_id())]
    assert [answer.status for answer in answers] == [202, 404, 202]
    assert book.states(theirs) == ["deferred"]
    reader = await door.key("shop", "messages:read")
    assert (await door.post(path, reader, json={"provider": "ses-2"})).status == 403
    done = await door.post(path, key, json={"provider": "ses-2"}, params={"recipient": "1"})
    assert (done.status, done.json) == (200, {"id": str(message), "recipients": [1], "noted": False})
    assert book.run("SELECT state, by_order FROM recipient WHERE message_id = %s ORDER BY n", message) == [
        ("deferred", None),
        ("queued", other),
    ]
    assert [row[-1] for row in book.run("SELECT subject FROM audit_log ORDER BY id")][2:] == [str(message)]
    told = (await door.get(f"{PATH}/{message}", await door.key("shop", "messages:read"))).json["recipients"]
    assert [(each["ordered"], each["by_order"], each["released"]) for each in told] == [
        (None, None, False),
        ("reroute", "ses-2", True),
    ]


async def test_what_is_left_is_routed_again_by_the_rules_as_they_stand(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", delivery="deferred")
    other = book.provider()
    key, path = await door.key("shop", "messages:manage"), f"{PATH}/{message}/reroute"
    for wrong in ({"rules": False}, {"rules": True, "provider": "ses-1"}, {"rule": "review"}):
        assert (await door.post(path, key, json=wrong)).status == 422, wrong
    assert (await door.post(path, key, json={"provider": "ses-2"})).json["recipients"] == [0]
    shown = "SELECT state, by_order, released, ordered, reply FROM recipient WHERE message_id = %s"
    assert book.run(shown, message) == [("queued", other, True, "reroute", "sent through ses-2 by an operator")]
    assert (await door.post(path, key, json={"rules": True})).json["recipients"] == [0]
    words = "routed again by an operator; last reply: sent through ses-2 by an operator"
    assert book.run(shown, message) == [("queued", None, False, "reroute", words)]


SUBMITTED = {"from": {"address": "a@shop.example"}, "to": [{"address": "b@far.example"}], "text": "x"}


async def test_what_the_api_accepted_is_ordered_about_at_once(door: Door, book: Mailbook) -> None:
    book.run("UPDATE account SET allowed_domains = '{shop.example}'")
    book.provider()
    key, operator, bakery = await door.key("shop"), await door.key(), await door.key("bakery")
    sent = (await door.post(PATH, key, json=SUBMITTED)).json["id"]
    for verb, status in (("release", 409), ("retry", 409), ("hold?recipient=0", 202), ("release", 202), ("hold", 202)):
        answer = await door.post(f"{PATH}/{sent}/{verb}", key)
        assert answer.status == status, (verb, answer.json)
    again = await door.post(f"{PATH}/{sent}/hold", key)
    assert (again.status, again.json) == (202, {"id": sent, "recipients": [], "noted": True})
    assert (await door.post(f"{PATH}/{sent}/reroute", key, json={"provider": "nobody"})).status == 409
    assert (await door.post(f"{PATH}/{sent}/reroute", operator, json={"provider": "ses-1"})).status == 202
    told = (await door.get(f"{PATH}/{sent}", key)).json
    assert (told["state"], told["orders"]) == (
        "queued",
        [
            {"what": "hold", "n": 0, "provider": None},
            {"what": "release", "n": None, "provider": None},
            {"what": "hold", "n": None, "provider": None},
            {"what": "reroute", "n": None, "provider": "ses-1"},
        ],
    )
    # Who else has the id is told nothing.
    assert (await door.get(f"{PATH}/{sent}", bakery)).status == 404
    assert (await door.post(f"{PATH}/{sent}/release", bakery)).status == 404
    # The operator's order is the account's business, too.
    seen = [(each["action"], each["subject"]) for each in (await door.get("/api/v1/audit-log", key)).json["items"]]
    verbs = ("reroute", "hold", "release", "hold")
    assert [each for each in seen if each[0] != "key.create"] == [(f"message.{verb}", sent) for verb in verbs]


async def test_an_account_cannot_fill_the_database_with_orders_for_nothing(door: Door, book: Mailbook) -> None:
    key, other = await door.key("shop"), await door.key("bakery")
    book.run(
        "INSERT INTO early_order (message_id, account_id, what, actor, request, peer, expires_at)"
        " SELECT gen_random_uuid(), %s, 'hold', 'a', 'r', 'p', now() + interval '1 day' FROM generate_series(1, %s)",
        SHOP,
        MOST,
    )
    full = await door.post(f"{PATH}/{new_id()}/hold", key)
    assert (full.status, full.json["detail"]) == (
        409,
        "1000 orders wait for messages that no worker has seen; more are not noted",
    )
    assert (await door.post(f"{PATH}/{new_id()}/hold", other)).status == 202
    book.run("UPDATE early_order SET expires_at = now() - interval '1 day' WHERE account_id = %s", SHOP)
    assert (await door.post(f"{PATH}/{new_id()}/hold", key)).status == 202
    assert book.run("SELECT count(*) FROM early_order WHERE account_id = %s", SHOP) == [(MOST - 10 + 1,)]


async def test_only_an_id_that_can_be_on_its_way_is_noted(door: Door) -> None:
    key, day, now = await door.key("shop"), 86_400_000, time.time_ns() // 1_000_000
    answers = {
        made: (await door.post(f"{PATH}/{uuid7(now + made, bytes(10))}/hold", key)).status
        for made in (-15 * day, -13 * day, 0, 60_000, day)
    }
    assert answers == {-15 * day: 404, -13 * day: 202, 0: 202, 60_000: 202, day: 404}


async def test_an_operators_order_is_seen_in_the_accounts_audit_log(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", delivery="deferred")
    tenant, operator = await door.key("shop"), await door.key()
    assert (await door.post(f"{PATH}/{message}/hold", operator)).status == 200
    assert (await door.post(f"{PATH}/{message}/reroute", operator, json={"provider": "ses-1"})).status == 200
    assert (await door.get(f"{PATH}/{message}/raw", operator)).status == 404
    book.run("UPDATE message SET body_bucket = 'bodies', body_key = '1'")
    assert (await door.get(f"{PATH}/{message}/raw", operator)).status in {404, 503}
    noted = (await door.get("/api/v1/audit-log", tenant)).json["items"]
    assert [(each["account"], each["action"], each["subject"]) for each in noted] == [
        ("shop", f"message.{verb}", str(message)) for verb in ("raw", "reroute", "hold")
    ]


async def test_reading_needs_no_more_than_its_scope(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", delivery="deferred")
    reader = await door.key("shop", "messages:read")
    answers = {
        "raw": await door.get(f"{PATH}/{message}/raw", reader),
        "cancel": await door.post(f"{PATH}/{message}/cancel", reader),
        "hold": await door.post(f"{PATH}/{message}/hold", reader),
        "submit": await door.post(PATH, reader, json={}),
    }
    assert {name: answer.status for name, answer in answers.items()} == dict.fromkeys(answers, 403)
    assert answers["raw"].json["detail"] == "this needs a key with the scope messages:raw"


async def test_the_contract_is_complete(door: Door) -> None:
    told = (await door.get("/openapi.json")).json
    assert told["openapi"].startswith("3.1")
    assert told["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            faults = {status for status in operation["responses"] if status >= "400"}
            needs_key = "provider-events" not in path
            assert faults >= {"401", "422", "429", "500", "503", *(["403"] if needs_key else [])}, (path, method)
            for status in faults:
                name = operation["responses"][status]["$ref"].rpartition("/")[2]
                answer = told["components"]["responses"][name]
                assert list(answer["content"]) == ["application/problem+json"], (path, status)
            assert operation["security"] == ([{"key": []}] if needs_key else [])
