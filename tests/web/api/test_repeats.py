"""Idempotency-Key on all that makes something: done once, answered alike, and no secret kept for it."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from backing.postgres.requests import Asked, begin
from tests.web.conftest import Chosen
from tests.web.contract import operations
from tests.web.house import Answer, Door, serving
from web.api.operations import ROOT

pytestmark = pytest.mark.anyio
NAME = {"Idempotency-Key": "order-17"}
RULE = {"name": "all", "priority": 1, "action": {"type": "discard"}}
PROVIDER = {"name": "main", "kind": "smtp", "config": {"host": "mail.example.net"}, "secret": "hush-hush"}
ACCOUNT = {"name": "mill", "allowed_domains": ["mill.example"], "provider": {"kind": "sandbox"}}
# What shows what it made, and what shows a secret: path, body of an operator who acts for `shop`.
PLAIN: dict[str, dict[str, Any]] = {
    "/providers": PROVIDER,
    "/rules?account=shop": RULE,
    "/suppressions?account=shop": {"addresses": ["a@far.example", "b@far.example"]},
}
SECRET: dict[str, tuple[dict[str, Any], str]] = {
    "/accounts": (ACCOUNT, "account mill with the credential mill-"),
    "/credentials?account=shop": ({}, "a password of credential shop-"),
    "/credentials/till/rotate?account=shop": ({"overlap_hours": 1}, "a password of credential till"),
    "/keys": ({"name": "ci"}, "key "),
    "/keys?account=shop": ({"name": "ci"}, "key "),
    "/webhooks?account=shop": ({"url": "https://hooks.example.com/a"}, "a secret of endpoint "),
}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


def rows(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, but when keys were used."""
    with psycopg.connect(url) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {
            name: connection.execute(
                f"SELECT to_jsonb(x) - 'last_used_at' FROM {name} AS x ORDER BY 1".encode()  # noqa: S608 - a table's name
            ).fetchall()
            for name in tables
        }


async def make(door: Door, path: str, key: str, body: dict[str, Any] | None, **headers: str) -> Answer:
    return await door.post(ROOT + path, key, json=body, headers={**NAME, **headers})


@pytest.mark.parametrize("path", PLAIN)
async def test_a_repeat_gets_the_same_answer_and_makes_nothing(door: Door, database_url: str, path: str) -> None:
    key, body = await door.key(), PLAIN[path]
    first = await make(door, path, key, body)
    assert (first.status, "idempotency-replayed" in first.headers) == (201, False)
    kept = rows(database_url)
    for _ in range(2):
        again = await make(door, path, key, body)
        assert (again.status, again.body) == (201, first.body)
        assert again.headers["idempotency-replayed"] == "true"
        assert again.headers["content-type"] == first.headers["content-type"]
    assert rows(database_url) == kept
    assert "hush-hush" not in str(kept)
    # Without a name, and under another one, it is another request.
    others = [await door.post(ROOT + path, key, json=body), await make(door, path, key, body, **named("order-18"))]
    assert {answer.status for answer in others} == ({201} if "suppressions" in path else {409})


def named(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}


@pytest.mark.parametrize("path", SECRET)
async def test_a_secret_is_shown_once_and_never_kept(door: Door, database_url: str, path: str) -> None:
    key, (body, made) = await door.key(), SECRET[path]
    assert (await door.post(f"{ROOT}/credentials?account=shop", key, json={"username": "till"})).status == 201
    first = await make(door, path, key, body)
    assert first.status == 201
    (secret,) = (first.json[name] for name in ("password", "key", "secret") if name in first.json)
    kept = rows(database_url)
    again = await make(door, path, key, body)
    assert (again.status, "retry-after" in again.headers) == (409, False)
    assert again.json["detail"].startswith(f"the first call with this Idempotency-Key made {made}")
    names = {str(first.json[name]) for name in ("username", "prefix", "id") if name in first.json}
    assert names
    assert all(name in again.json["detail"] for name in names)
    assert again.json["detail"].endswith("If nobody has it, rotate or revoke what was made")
    assert rows(database_url) == kept
    assert len(kept["api_request"]) == 1
    assert secret not in str(kept)
    assert secret.encode() not in again.body


async def test_keys_and_endpoints_are_exchanged_once(door: Door, database_url: str) -> None:
    operator, key = await door.key(), await door.key("shop")
    hook = (await door.post(f"{ROOT}/webhooks", key, json={"url": "https://hooks.example.com/a"})).json["id"]
    child = (await door.post(f"{ROOT}/keys", key, json={"name": "child"})).json["prefix"]
    for path, who in (
        (f"/webhooks/{hook}/rotate", key),
        (f"/keys/{child}/rotate", key),
        ("/accounts/shop/rotate-key", key),
        (f"/keys/{operator.split('_')[1]}/rotate", operator),
    ):
        assert (await make(door, path, who, None)).status == 201
        kept = rows(database_url)
        again = await make(door, path, who, None)
        assert (again.status, "was shown in that answer only" in again.json["detail"]) == (409, True), path
        assert rows(database_url) == kept


async def test_a_name_stands_for_one_request_of_one_operation(door: Door) -> None:
    key = await door.key("shop")
    assert (await make(door, "/rules", key, RULE)).status == 201
    for path, body in (("/rules", RULE | {"name": "other"}), ("/rules?account=shop", RULE)):
        other = await make(door, path, key, body)
        assert (other.status, other.json["detail"]) == (
            422,
            "this Idempotency-Key stands for another request; take a new one",
        )
    for username in ("a", "b"):
        assert (await door.post(f"{ROOT}/credentials", key, json={"username": username})).status == 201
    assert (await make(door, "/credentials/a/rotate", key, None)).status == 201
    assert (await make(door, "/credentials/b/rotate", key, None)).status == 422
    for name in ("", "x" * 256):
        assert (await make(door, "/rules", key, RULE, **named(name))).status == 422


async def test_what_was_refused_may_be_repeated_once_it_can_be_done(door: Door, database_url: str) -> None:
    key = await door.key()
    body = {**RULE, "action": {"type": "route", "targets": [{"provider": "main"}]}}
    assert (await make(door, "/rules?account=shop", key, body)).status == 422
    assert rows(database_url)["api_request"] == []
    assert (await make(door, "/providers", key, PROVIDER)).status == 201
    assert (await make(door, "/rules?account=shop", key, body)).status == 201


@pytest.mark.requirement("CORE-API-003")
async def test_each_account_has_names_of_its_own_and_operators_theirs(door: Door, database_url: str) -> None:
    keys = [await door.key("shop"), await door.key("bank"), await door.key()]
    answers = [
        await make(door, path, key, RULE)
        for key, path in zip(keys, (*["/rules"] * 2, "/rules?account=bank"), strict=True)
    ]
    # The operator's is not the bank's: it is carried out, and refused for what is there.
    assert [answer.status for answer in answers] == [201, 201, 409]
    assert answers[0].json["id"] != answers[1].json["id"]
    assert "idempotency-replayed" not in answers[1].headers
    # Another key of the same account repeats what that account has asked for.
    again = await make(door, "/rules", await door.key("shop"), RULE)
    assert (again.body, again.headers["idempotency-replayed"]) == (answers[0].body, "true")
    assert len(rows(database_url)["api_request"]) == 2


async def test_while_the_first_is_carried_out_a_repeat_is_put_off(door: Door) -> None:
    key = await door.key()
    asked = Asked(account_id=None, operation=f"POST {ROOT}/providers", key=NAME["Idempotency-Key"], fingerprint=b"")
    async with door.house.database.transaction() as connection:
        assert await begin(connection, asked) is None
        busy = await make(door, "/providers", key, PROVIDER)
        assert (busy.status, busy.headers["retry-after"]) == (409, "2")
        assert (await make(door, "/providers", key, PROVIDER, **named("order-18"))).status == 201
        assert (await make(door, "/rules?account=shop", key, RULE)).status == 201
    assert (await make(door, "/providers", key, PROVIDER | {"name": "second"})).status == 201


async def test_many_at_once_make_one(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    answers = await asyncio.gather(
        *(make(door, "/webhooks", key, {"url": "https://hooks.example.com/a"}) for _ in range(6))
    )
    statuses = [answer.status for answer in answers]
    # A slow machine has no connection for some in time.
    assert (statuses.count(201), {*statuses} <= {201, 409, 503}) == (1, True)
    assert len(rows(database_url)["webhook_endpoint"]) == 1


async def test_a_day_later_it_is_another_request(door: Door, database_url: str) -> None:
    key, path = await door.key("shop"), "/suppressions"
    assert (await make(door, path, key, PLAIN["/suppressions?account=shop"])).json == {"count": 2}
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE api_request SET expires_at = now()")
    later = await make(door, path, key, {"addresses": ["c@far.example"]})
    assert (later.status, later.json, "idempotency-replayed" in later.headers) == (201, {"count": 1}, False)
    assert (await make(door, path, key, {"addresses": ["c@far.example"]})).headers["idempotency-replayed"] == "true"
    assert len(rows(database_url)["api_request"]) == 1


async def test_what_is_kept_of_a_request_does_not_give_it_away(door: Door, database_url: str) -> None:
    """A secret that can be guessed could be found by its digest, were that not keyed."""
    body, options = json.dumps(PROVIDER).encode(), {"Content-Type": "application/json", **NAME}
    assert (await door.post(f"{ROOT}/providers", await door.key(), data=body, headers=options)).status == 201
    ((row,),) = rows(database_url)["api_request"]
    asked = f"POST {ROOT}/providers?\n".encode() + body
    own = door.house.tools.credential_key
    assert row["fingerprint"] == "\\x" + hmac.digest(own, b"request\0" + asked, "sha256").hex()
    assert row["key"] == "\\x" + hashlib.sha256(b"order-17").hexdigest()
    assert "order-17" not in str(row)


async def test_the_contract_tells_of_it_where_it_is_taken(door: Door) -> None:
    contract = (await door.get("/openapi.json")).json
    taking = {}
    for each in operations(contract):
        told = contract["paths"][each.path][each.method.lower()]
        parameters = {parameter["name"]: parameter for parameter in told.get("parameters", [])}
        if "Idempotency-Key" in parameters:
            assert parameters["Idempotency-Key"]["in"] == "header"
            taking[each.label.replace(ROOT, "")] = told["responses"]
    assert sorted(taking) == [
        "POST /accounts",
        "POST /accounts/{name}/rotate-key",
        "POST /credentials",
        "POST /credentials/{username}/rotate",
        "POST /keys",
        "POST /keys/{prefix}/rotate",
        "POST /messages",
        "POST /providers",
        "POST /rules",
        "POST /suppressions",
        "POST /webhooks",
        "POST /webhooks/{id}/rotate",
    ]
    for label, responses in taking.items():
        is_mail = label == "POST /messages"
        told = responses["202" if is_mail else "201"]
        assert set(told) - {"links"} == {"description", "headers", "content"}, label
        assert "Idempotency-Replayed" in told["headers"], label
        assert ("409" in responses) != is_mail, label
