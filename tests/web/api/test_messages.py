"""Messages over the API: what is told of them, to whom, and what is ordered."""

from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from tests.backing.mailbook import BAKERY, Mailbook
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
    foreign, unknown = book.mail(book.provider(BAKERY), account_id=BAKERY), UUID(int=7)
    key, operator = await door.key("shop"), await door.key()
    for method, rest in (
        ("GET", ""),
        ("GET", "/raw"),
        ("POST", "/cancel"),
        ("POST", "/hold"),
        ("POST", "/release"),
        ("POST", "/retry"),
    ):
        answers = [
            await door.call(method, f"{PATH}/{each}{rest}", key, headers={"X-Request-Id": "r"})
            for each in (foreign, unknown)
        ]
        assert [answer.status for answer in answers] == [404, 404]
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


async def test_orders_are_carried_out_and_noted(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred")
    key = await door.key("shop", "messages:manage")
    headers = {"headers": {"X-Request-Id": "r-7"}}
    one = await door.post(f"{PATH}/{message}/cancel?recipient=1", key, **headers)
    assert (one.status, one.json) == (200, {"id": str(message), "recipients": [1]})
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
    unstored = await door.post(f"{PATH}/{message}/hold", key)
    assert (unstored.status, unstored.json["detail"]) == (
        409,
        f"message {message} cannot be held: its body is not stored",
    )
    book.run("UPDATE message SET body_bucket = 'bodies', body_key = '1' WHERE id = %s", message)
    held = await door.post(f"{PATH}/{message}/hold", key)
    assert (held.status, held.json) == (200, {"id": str(message), "recipients": [0, 1]})
    assert book.states(message) == ["held", "held"]
    assert (await door.post(f"{PATH}/{message}/hold", key)).status == 409
    assert (await door.post(f"{PATH}/{message}/release?recipient=1", key)).json["recipients"] == [1]
    assert book.states(message) == ["held", "queued"]
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
    assert (await door.post(f"{PATH}/{theirs}/reroute", key, json={"provider": "ses-2"})).status == 404
    reader = await door.key("shop", "messages:read")
    assert (await door.post(path, reader, json={"provider": "ses-2"})).status == 403
    done = await door.post(path, key, json={"provider": "ses-2"}, params={"recipient": "1"})
    assert (done.status, done.json) == (200, {"id": str(message), "recipients": [1]})
    assert book.run("SELECT state, by_order FROM recipient WHERE message_id = %s ORDER BY n", message) == [
        ("deferred", None),
        ("queued", other),
    ]
    assert book.run("SELECT action, subject FROM audit_log") == [("message.reroute", str(message))]


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
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"], (path, status)
            assert operation["security"] == ([{"key": []}] if needs_key else [])
