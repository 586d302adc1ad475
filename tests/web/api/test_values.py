"""Values at the edges: what would be stored and could not be read back, or would end in an error of ours."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.backing.mailbook import Mailbook
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


ENDS = ["9999-12-31T23:59:59-14:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00Z"]
OUTSIDE = "a time is between the years 1970 and 9000"


async def test_a_time_that_could_not_be_read_back_is_refused(door: Door) -> None:
    key = await door.key("shop")
    for at in ENDS:
        for path, body, where in (
            ("/keys", {"name": "x", "expires_at": at}, "body/expires_at"),
            ("/suppressions", {"addresses": ["a@b.example"], "until": at}, "body/until"),
        ):
            answer = await door.post(V1 + path, key, json=body)
            assert (answer.status, answer.json["errors"]) == (422, [{"where": where, "what": OUTSIDE}])
        for query in ({"until": at}, {"since": at}, {"since": at, "until": at}):
            answer = await door.get(f"{V1}/statistics", key, params=query)
            assert (answer.status, {each["what"] for each in answer.json["errors"]}) == (422, {OUTSIDE})
        assert (await door.get(f"{V1}/messages", key, params={"since": at})).status == 422
    edges = {"since": "1970-01-01T00:00:00Z", "until": "1970-01-01T00:00:01Z"}
    assert (await door.get(f"{V1}/statistics", key, params=edges)).status == 200
    assert (await door.get(f"{V1}/statistics", key, params={"until": "1970-01-01T00:00:00Z"})).status == 200
    assert (await door.get(f"{V1}/statistics", key, params={"until": "9000-01-01T00:00:00Z"})).status == 200


async def test_what_has_ended_already_is_not_made(door: Door) -> None:
    key, last = await door.key("shop"), "9000-01-01T00:00:00Z"
    over = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for path, body, name in (
        ("/keys", {"name": "x"}, "expires_at"),
        ("/suppressions", {"addresses": ["a@b.example"]}, "until"),
    ):
        refused = await door.post(V1 + path, key, json={**body, name: over})
        assert (refused.status, refused.json["errors"][0]["what"]) == (422, "it is over already")
        assert (await door.post(V1 + path, key, json={**body, name: last})).status == 201
        listed = (await door.get(V1 + path, key)).json["items"]
        assert [each[name] for each in listed if each[name]] == [last]


async def test_what_cannot_be_read_is_an_error_of_ours(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    await door.post(f"{V1}/suppressions", key, json={"addresses": ["a@b.example"]})
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE suppression SET created_at = 'infinity'")
    with capture_logs() as logs:
        answer = await door.get(f"{V1}/suppressions", key)
    assert (answer.status, answer.json["detail"]) == (500, "an error of ours; the request id names it in our log")
    told: list[Any] = [each for each in logs if each["event"] == "request failed"]
    assert [each["request"] for each in told] == [answer.headers["x-request-id"]]
    assert type(told[0]["exc_info"]) is psycopg.DataError


async def test_a_key_is_listed_with_the_end_that_it_has(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    with psycopg.connect(database_url, autocommit=True) as connection, pytest.raises(psycopg.errors.CheckViolation):
        connection.execute("UPDATE api_key SET expires_at = '9999-12-31 23:59:59-14'")
    assert (await door.get(f"{V1}/keys", key)).json["items"][0]["expires_at"] is None


@pytest.mark.requirement("CORE-API-002")
async def test_a_key_with_an_end_hands_out_none_that_ends_later(door: Door) -> None:
    end, later = datetime(2930, 1, 31, tzinfo=UTC), "2930-02-01T00:00:00Z"
    key, free = await door.key("shop", expires_at=end), await door.key("shop")
    for body in ({"expires_at": later}, {"expires_at": "2930-01-31T00:00:01Z"}):
        refused = await door.post(f"{V1}/keys", key, json={"name": "x", **body})
        assert (refused.status, refused.json["detail"]) == (
            403,
            "the calling key ends at 2930-01-31T00:00:00+00:00, and hands out none that ends later",
        )
    assert (await door.post(f"{V1}/keys/{free.split('_')[1]}/rotate", key)).status == 403
    fitting: tuple[dict[str, str | None], ...] = (
        {},
        {"expires_at": None},
        {"expires_at": "2930-01-31T00:00:00Z"},
        {"expires_at": "2930-01-01T00:00:00Z"},
    )
    for fit in fitting:
        assert (await door.post(f"{V1}/keys", key, json={"name": "child", **fit})).status == 201
    mine = await door.post(f"{V1}/keys/{key.split('_')[1]}/rotate", free, json={"overlap_hours": 0})
    own = await door.post(f"{V1}/accounts/shop/rotate-key", mine.json["key"])
    assert (mine.status, own.status) == (201, 201)
    listed = {each["prefix"]: each for each in (await door.get(f"{V1}/keys", free)).json["items"]}
    assert listed[own.json["prefix"]]["expires_at"] == "2930-01-31T00:00:00Z"
    assert sorted(str(each["expires_at"]) for each in listed.values() if each["name"] == "child") == [
        "2930-01-01T00:00:00Z",
        *["2930-01-31T00:00:00Z"] * 3,
    ]
    assert listed[free.split("_")[1]]["expires_at"] is None


def nested(levels: int) -> Any:
    made: Any = 1
    for n in range(levels):
        made = [made] if n % 2 else {"a": made}
    return made


async def test_json_is_only_so_deep(door: Door, database_url: str) -> None:
    key, fits, deep = await door.key(), nested(31), nested(32)
    new: dict[str, Any] = {"name": "main", "kind": "smtp"}
    words = "the body is nested too deep: lists and objects may be nested 32 levels"
    letter = {"from": {"address": "a@shop.example"}, "to": [{"address": "b@far.example"}], "text": "[" * 99}
    for method, path, body in (
        ("POST", "/providers", {**new, "config": deep}),
        ("POST", "/rules?account=shop", {"name": "r", "priority": 1, "action": deep}),
        ("POST", "/messages?account=shop", {**letter, "headers": deep}),
        ("PATCH", "/providers/main", {"limits": deep}),
    ):
        answer = await door.call(method, V1 + path, key, json=body)
        assert (answer.status, answer.json["detail"]) == (400, words)
    for whole in (b"[" * 1_000_000, b'{"config":' + b"[" * 500_000 + b"]" * 500_000 + b"}"):
        answer = await door.post(f"{V1}/providers", key, data=whole, headers={"Content-Type": "application/json"})
        assert (answer.status, answer.json["detail"]) == (400, words)
    limits = {"a": "[" * 99, "b": ['\\"', fits["a"][0]]}
    made = await door.post(f"{V1}/providers", key, json={**new, "config": {"host": "h"}, "limits": limits})
    assert made.status == 201
    assert (await door.post(f"{V1}/messages?account=shop", key, json=letter)).status == 202
    with psycopg.connect(database_url, autocommit=True) as connection:
        lists = "[" * 700 + "]" * 700
        connection.execute("UPDATE provider SET config = %s", (f'{{"host": "h", "old": {lists}}}',))
    shown = await door.get(f"{V1}/providers/main", key)
    config = shown.json["config"]
    assert (shown.status, config["host"], json.dumps(config).count("[")) == (200, "h", 31)
    mended = await door.call("PATCH", f"{V1}/providers/main", key, json={"config": {"old": None}})
    assert (mended.status, mended.json["config"]) == (200, {"host": "h"})


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b'{"name": "a", "name": "b"}', "the body is not JSON: an object has the name 'name' twice"),
        (b'{"name": NaN}', "the body is not JSON: NaN is no number"),
        (b'{"name": "x"', "the body is not JSON: Expecting ',' delimiter: line 1 column 13 (char 12)"),
        ('{"name": "x"}'.encode("utf-16"), "the body is not JSON: 'utf-8' codec can't decode byte 0xff in position 0:"),
    ],
)
async def test_what_is_no_json_is_told_in_its_own_words(door: Door, body: bytes, detail: str) -> None:
    key, kind = await door.key("shop"), {"Content-Type": "application/json; charset=utf-8"}
    for path in ("/keys", "/messages"):
        answer = await door.post(V1 + path, key, data=body, headers=kind)
        assert (answer.status, answer.json["detail"][: len(detail)]) == (400, detail)


async def test_a_body_of_another_kind_is_told(door: Door) -> None:
    key, new = await door.key("shop"), b'{"name": "x"}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream"):
        answer = await door.post(f"{V1}/keys", key, data=new, headers={"Content-Type": kind})
        assert (answer.status, answer.json["detail"]) == (415, "send application/json")
        assert answer.headers["accept"] == "application/json"
    assert (await door.post(f"{V1}/keys", key, data=new, headers={"Content-Type": "Application/JSON"})).status == 201
    assert (await door.post(f"{V1}/keys", key)).status == 422
    assert (await door.post(f"{V1}/accounts/shop/rotate-key", key)).status == 201
    raw = {"headers": {"Content-Type": "message/rfc822"}, "params": {"from": "a@shop.example", "to": "b@far.example"}}
    empty = await door.post(f"{V1}/messages", key, **raw)
    assert (empty.status, empty.json["detail"]) == (422, "the body is empty; it is to be the message")


async def test_a_rule_has_a_name_that_a_path_can_hold(door: Door, database_url: str) -> None:
    key, path = await door.key("shop"), f"{V1}/rules"
    new: dict[str, Any] = {"priority": 1, "action": {"type": "discard"}}
    for name in ("r/2", ".", "..", " r", "r ", "r\n", "r?", "%2F", "", "r" * 201):
        assert (await door.post(path, key, json={"name": name, **new})).status == 422, name
    for name in ("r 2", "EU.far_away-1", "r" * 200):
        made = await door.post(path, key, json={"name": name, **new})
        assert made.status == 201
        assert (await door.get(f"{path}/{name}", key)).json == made.json
    assert (await door.call("PATCH", f"{path}/r 2", key, json={"name": "a/b"})).status == 422
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE routing_rule SET name = '../r' WHERE name = 'r 2' RETURNING id")
        connection.execute("UPDATE routing_rule SET name = '..' WHERE name LIKE 'EU%'")
    old = {each["name"]: each["id"] for each in (await door.get(path, key)).json["items"]}
    shown = await door.get(f"{path}/{old['../r']}", key)
    assert shown.json["name"] == "../r"
    tag = {"If-Match": shown.headers["etag"]}
    kept = await door.call("PATCH", f"{path}/{old['../r']}", key, json={"priority": 2}, headers=tag)
    assert (kept.status, kept.json["name"], kept.json["priority"]) == (200, "../r", 2)
    mended = await door.call("PATCH", f"{path}/{old['../r'].upper()}", key, json={"name": "fit"})
    assert (mended.status, (await door.get(f"{path}/fit", key)).json) == (200, mended.json)
    assert (await door.call("DELETE", f"{path}/{old['..']}", await door.key("bank"))).status == 404
    assert (await door.call("DELETE", f"{path}/{old['..']}", key)).status == 204
    assert (await door.call("DELETE", f"{path}/{old['..']}", key)).status == 404


async def test_the_audit_log_names_what_was_made(door: Door) -> None:
    key = await door.key("shop")
    made = await door.post(f"{V1}/keys", key, json={"name": "till"})
    prefix = made.json["prefix"]
    rotated = (await door.post(f"{V1}/keys/{prefix}/rotate", key)).json["prefix"]
    username = (await door.post(f"{V1}/credentials", key, json={})).json["username"]
    log = (await door.get(f"{V1}/audit-log", key)).json["items"]
    assert [(each["action"], each["subject"]) for each in log] == [
        ("credential.create", username),
        ("key.rotate", f"{prefix} to {rotated} till"),
        ("key.create", f"{prefix} till"),
    ]


async def test_a_list_is_taken_as_it_is_exported(door: Door) -> None:
    operator, key, bank = await door.key(), await door.key("shop"), await door.key("bank")
    path, end = f"{V1}/suppressions", "2930-01-01T00:00:00Z"
    await door.post(path, key, json={"addresses": ["a@b.example"], "reason": "bounce", "until": end})
    await door.post(f"{path}?account=shop", operator, json={"addresses": ["c@d.example"], "stream": "news"})
    exported = (await door.get(f"{path}/export?format=jsonl", key)).body.splitlines()
    lines: list[dict[str, Any]] = [json.loads(line) for line in exported]
    assert [each["source"] for each in lines] == [f"key {key.split('_')[1]}", "operator"]
    over = {"address": "e@f.example", "until": "2020-01-01T00:00:00Z"}
    assert (await door.post(path, bank, json={"entries": [*lines, over]})).json == {"count": 2}
    again = [json.loads(line) for line in (await door.get(f"{path}/export?format=jsonl", bank)).body.splitlines()]
    kept = ("address", "reason", "until", "stream")
    assert [[each[name] for name in kept] for each in again] == [[each[name] for name in kept] for each in lines]
    assert {each["source"] for each in again} == {f"key {bank.split('_')[1]}"}
    assert (await door.post(path, bank, json={"reason": "bounce"})).status == 422
    assert (await door.post(path, bank, json={"entries": [{"address": "nobody"}]})).status == 422


async def test_what_cannot_be_is_told_in_words_that_help(door: Door) -> None:
    key, operator = await door.key("shop"), await door.key()
    scope = await door.post(f"{V1}/keys?account=shop", operator, json={"name": "x", "scopes": ["accounts:write"]})
    assert scope.status == 422
    assert scope.json["detail"].startswith("'accounts:write' is for operators only; there are accounts:read, ")
    hook = (await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example.com/"})).json["id"]
    assert (await door.post(f"{V1}/webhooks/{hook}/disable", key)).status == 204
    test = await door.post(f"{V1}/webhooks/{hook}/test", key)
    assert (test.status, test.json["detail"]) == (
        409,
        f"endpoint {hook} is disabled, so that nothing is posted to it",
    )
    assert (await door.get(f"{V1}/webhooks/{hook}", key)).json["waiting"] == 0


async def test_a_recipient_that_is_not_there_is_not_found(chosen: Chosen, database_url: str) -> None:
    book = Mailbook(database_url)
    message = book.mail(book.provider(), "held", "b@far.example", delivery="deferred")
    async with serving(chosen()) as door:
        none = await door.post(f"{V1}/messages/{message}/cancel?recipient=9", await door.key("shop"))
    assert (none.status, none.json["detail"]) == (404, f"message {message} has no recipient 9")
