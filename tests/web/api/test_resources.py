"""What an account has, made and changed over the API."""

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from backing.admin.desk import Conflict
from backing.postgres.audit import Deed
from tests.web.conftest import Chosen
from tests.web.house import Door, noted, serving

pytestmark = pytest.mark.anyio
V1 = "/api/v1"
ACCOUNT: dict[str, Any] = {
    "name": "mill",
    "allowed_domains": ["mill.example"],
    "provider": {"kind": "smtp", "config": {"host": "mail.example.net"}, "secret": "hush-hush"},
    "quotas": {"day": {"messages": 10}},
}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


@pytest.mark.requirement("CORE-API-001")
async def test_an_account_is_made_changed_and_deleted(door: Door, database_url: str) -> None:
    key = await door.key()
    made = await door.post(f"{V1}/accounts", key, json=ACCOUNT)
    assert made.status == 201, made
    assert made.json["username"].startswith("mill-")
    assert len(made.json["password"]) == 43
    assert (await door.post(f"{V1}/accounts", key, json=ACCOUNT)).status == 409
    shown = await door.get(f"{V1}/accounts/mill", key)
    assert (shown.json["provider"], shown.json["quotas"]) == ("smtp", {"day": {"messages": 10}})
    assert b"hush-hush" not in made.body + shown.body
    tag = {"If-Match": shown.headers["etag"]}
    change = {"max_sessions": 5, "quotas": {"day": {"messages": None}, "hour": {"recipients": 7}}}
    changed = await door.call("PATCH", f"{V1}/accounts/mill", key, json=change, headers=tag)
    assert (changed.status, changed.json["max_sessions"]) == (200, 5)
    assert changed.json["quotas"] == {"hour": {"recipients": 7}}
    late = await door.call("PATCH", f"{V1}/accounts/mill", key, json={"max_sessions": None}, headers=tag)
    assert (late.status, late.headers["etag"]) == (412, changed.headers["etag"])
    tag = {"If-Match": changed.headers["etag"]}
    again = await door.call("PATCH", f"{V1}/accounts/mill", key, json={"max_sessions": None}, headers=tag)
    assert (again.status, again.json["max_sessions"]) == (200, None)
    assert (await door.call("DELETE", f"{V1}/accounts/mill", key)).status == 409
    assert (await door.post(f"{V1}/accounts/mill/disable", key)).json["disabled"] is True
    gone = await door.call("DELETE", f"{V1}/accounts/mill", key)
    assert (gone.status, gone.json["credentials"]) == (200, 1)
    assert (await door.get(f"{V1}/accounts/mill", key)).status == 404
    assert noted(database_url) == [
        (action, "mill")
        for action in ("account.create", "account.change", "account.change", "account.disable", "account.delete")
    ]


@pytest.mark.requirement("CORE-API-003")
async def test_a_tenant_reaches_nothing_of_another_one(door: Door) -> None:
    shop, bank = await door.key("shop"), await door.key("bank")
    made = {
        "credential": await door.post(f"{V1}/credentials", bank, json={"username": "bank-1"}),
        "key": await door.post(f"{V1}/keys", bank, json={"name": "other"}),
        "rule": await door.post(f"{V1}/rules", bank, json={"name": "r", "priority": 1, "action": {"type": "discard"}}),
        "webhook": await door.post(f"{V1}/webhooks", bank, json={"url": "https://hooks.example.com/"}),
        "suppression": await door.post(f"{V1}/suppressions", bank, json={"addresses": ["a@b.example"]}),
    }
    assert {name: answer.status for name, answer in made.items()} == dict.fromkeys(made, 201)
    prefix, hook = made["key"].json["prefix"], made["webhook"].json["id"]
    tried = [
        ("GET", "/accounts/bank", None),
        ("POST", "/accounts/bank/rotate-key", None),
        ("DELETE", "/credentials/bank-1", None),
        ("POST", "/credentials/bank-1/rotate", None),
        ("POST", f"/keys/{prefix}/rotate", None),
        ("DELETE", f"/keys/{prefix}", None),
        ("GET", "/rules/r", None),
        ("PATCH", "/rules/r", {"priority": 2}),
        ("DELETE", "/rules/r", None),
        ("GET", f"/webhooks/{hook}", None),
        ("PATCH", f"/webhooks/{hook}", {"enabled": False}),
        ("GET", f"/webhooks/{hook}/deliveries", None),
        *[("POST", f"/webhooks/{hook}/{verb}", None) for verb in ("rotate", "enable", "disable", "test")],
        ("POST", f"/webhooks/{hook}/replay", {"since": "2026-01-01T00:00:00Z"}),
        ("DELETE", f"/webhooks/{hook}", None),
        ("POST", "/suppressions/remove", {"addresses": ["a@b.example"]}),
    ]
    answers = {(m, path): (await door.call(m, V1 + path, shop, json=body)).status for m, path, body in tried}
    assert answers == dict.fromkeys(answers, 404)
    named = {
        path: (await door.get(f"{V1}{path}?account=bank", shop)).status
        for path in ("/credentials", "/keys", "/rules", "/webhooks", "/suppressions", "/providers", "/audit-log")
    }
    assert named == dict.fromkeys(named, 404)
    for path, field in (
        ("/credentials", "username"),
        ("/rules", "name"),
        ("/webhooks", "id"),
        ("/suppressions", "address"),
    ):
        assert (await door.get(V1 + path, shop)).json["items"] == []
        assert [each[field] for each in (await door.get(V1 + path, bank)).json["items"]] != []
    assert [each["name"] for each in (await door.get(f"{V1}/accounts", shop)).json["items"]] == ["shop"]


async def test_what_is_an_operators_is_no_tenants(door: Door) -> None:
    key = await door.key("shop")
    tried = [
        ("POST", "/accounts", ACCOUNT),
        ("PATCH", "/accounts/shop", {"check_from": False}),
        ("DELETE", "/accounts/shop", None),
        ("POST", "/providers", {"name": "p", "kind": "smtp", "config": {"host": "10.0.0.1"}}),
        ("GET", "/dead-letters", None),
        ("POST", "/dead-letters/redrive", {"ids": None}),
        ("POST", "/keys", {"name": "more", "scopes": ["accounts:write"]}),
        ("POST", "/keys", {"name": "more", "rate_per_minute": 9999}),
    ]
    answers = {(m, path): (await door.call(m, V1 + path, key, json=body)).status for m, path, body in tried}
    assert answers == dict.fromkeys(answers, 403)


async def test_a_key_hands_out_no_more_than_it_has(door: Door) -> None:
    small, large = await door.key("shop", "keys:write", "rules:read"), await door.key("shop")
    made = await door.post(f"{V1}/keys", small, json={"name": "child"})
    child = made.json["key"]
    assert (await door.get(f"{V1}/rules", child)).status == 200
    assert (await door.get(f"{V1}/messages", child)).status == 403
    assert (await door.post(f"{V1}/keys", small, json={"name": "x", "scopes": ["messages:raw"]})).status == 403
    assert (await door.post(f"{V1}/keys/{large.split('_')[1]}/rotate", small)).status == 403
    operator = await door.key(None, "keys:write")
    assert (
        await door.post(f"{V1}/keys?account=shop", operator, json={"name": "x", "scopes": ["rules:read"]})
    ).status == 403


@pytest.mark.requirement("CORE-API-002")
async def test_a_tenant_exchanges_its_own_key(door: Door) -> None:
    key = await door.key("shop")
    answer = await door.post(f"{V1}/accounts/shop/rotate-key", key, json={"overlap_hours": 0})
    assert answer.status == 201
    assert [(await door.get(f"{V1}/messages", each)).status for each in (key, answer.json["key"])] == [401, 200]
    listed = await door.get(f"{V1}/keys", answer.json["key"])
    assert answer.json["key"].split("_")[2].encode() not in listed.body
    assert [each["expires_at"] is None for each in listed.json["items"]] == [False, True]


@pytest.mark.requirement("CORE-API-001")
async def test_providers_and_rules_are_made_changed_and_asked(door: Door) -> None:
    key, tenant = await door.key(), await door.key("shop")
    new = {"name": "main", "kind": "smtp", "config": {"host": "mail.example.net"}, "secret": "hush-hush"}
    made = await door.post(f"{V1}/providers", key, json=new)
    assert (made.status, made.json["secret"]) == (201, True)
    assert (
        await door.post(f"{V1}/providers", key, json={**new, "name": "x", "config": {"password": "y"}})
    ).status == 422
    changed = await door.call("PATCH", f"{V1}/providers/main", key, json={"limits": {"rate": 5}})
    assert (changed.json["limits"], changed.json["config"]) == ({"rate": 5}, {"host": "mail.example.net"})
    assert (await door.call("PUT", f"{V1}/providers/main/secret", key, json={"secret": None})).status == 204
    assert (await door.post(f"{V1}/providers/main/disable", key)).json["enabled"] is False
    listed = (await door.get(f"{V1}/providers", tenant)).json["items"]
    assert [(each["name"], each["account"], each["secret"]) for each in listed] == [("main", None, False)]
    await door.post(f"{V1}/providers/main/enable", key)
    rule = {"name": "all", "priority": 1, "action": {"type": "route", "targets": [{"provider": "main"}]}}
    assert (await door.post(f"{V1}/rules", tenant, json=rule)).status == 201
    assert (await door.call("DELETE", f"{V1}/providers/main", key)).status == 409
    wrong = await door.post(f"{V1}/rules", tenant, json={**rule, "name": "b", "action": {"type": "fly"}})
    assert wrong.status == 422
    asked = await door.post(f"{V1}/rules/simulate", tenant, json={"recipients": ["b@far.example"]})
    assert asked.json["traces"][0]["recipient"] == "b@far.example"
    assert asked.json["traces"][0]["rules"][0]["decides"] is True
    assert (await door.call("DELETE", f"{V1}/rules/all", tenant)).status == 204
    assert (await door.call("DELETE", f"{V1}/providers/main", key)).status == 204


async def test_lists_and_endpoints_of_an_account(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    added = await door.post(f"{V1}/suppressions", key, json={"addresses": ["A@b.example", "c@d.example"]})
    assert added.json == {"count": 2}
    assert (await door.post(f"{V1}/suppressions", key, json={"addresses": ["nobody"]})).status == 422
    gone = await door.post(f"{V1}/suppressions/remove", key, json={"addresses": ["a@b.example"]})
    assert gone.json == {"count": 1}
    listed = (await door.get(f"{V1}/suppressions", key)).json["items"]
    assert [(each["address"], each["reason"], each["source"]) for each in listed] == [
        ("c@d.example", "manual", f"key {key.split('_')[1]}")
    ]
    assert (await door.post(f"{V1}/webhooks", key, json={"url": "https://10.0.0.1/"})).status == 422
    made = await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example.com/a"})
    path = f"{V1}/webhooks/{made.json['id']}"
    rotated = await door.post(f"{path}/rotate", key)
    assert made.json["secret"] != rotated.json["secret"]
    sent = await door.post(f"{path}/test", key)
    deliveries = (await door.get(f"{path}/deliveries", key)).json["items"]
    assert [each["event"] for each in deliveries] == [sent.json["event"]]
    assert (await door.post(f"{path}/disable", key)).status == 204
    assert (await door.get(path, key)).json["disabled_reason"] == f"disabled with the key {key.split('_')[1]}"
    assert (await door.post(f"{path}/replay", key, json={"since": "2026-01-01T00:00:00Z"})).status == 200
    assert (await door.call("DELETE", path, key)).status == 204
    log = (await door.get(f"{V1}/audit-log", key)).json["items"]
    assert [each["action"] for each in reversed(log)] == [action for action, _ in noted(database_url)]
    assert {each["account"] for each in log} == {"shop"}
    assert {each["actor"] for each in log} == {f"{key.split('_')[1]} test"}
    page = (await door.get(f"{V1}/audit-log?limit=2", key)).json
    rest = (await door.get(f"{V1}/audit-log?limit=200&before={page['next']}", key)).json
    assert page["items"] + rest["items"] == log


async def test_only_the_version_that_is_meant_is_deleted(door: Door, database_url: str) -> None:
    operator, key = await door.key(), await door.key("shop")
    provider = {"name": "main", "kind": "smtp", "config": {"host": "mail.example.net"}}
    rule = {"name": "all", "priority": 1, "action": {"type": "discard"}}
    hook = await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example.com/a"})
    assert (await door.post(f"{V1}/providers", operator, json=provider)).status == 201
    assert (await door.post(f"{V1}/rules", key, json=rule)).status == 201
    assert (await door.post(f"{V1}/accounts/bank/disable", operator)).status == 200
    kept = noted(database_url)
    for path, shown in (
        (f"{V1}/providers/main", operator),
        (f"{V1}/rules/all", key),
        (f"{V1}/accounts/bank", operator),
        (f"{V1}/webhooks/{hook.json['id']}", key),
    ):
        found = await door.get(path, shown)
        other = await door.call("DELETE", path, shown, headers={"If-Match": '"another"'})
        assert (other.status, other.headers["etag"]) == (412, found.headers["etag"])
        assert noted(database_url) == kept
        gone = await door.call("DELETE", path, shown, headers={"If-Match": found.headers["etag"]})
        assert gone.status in {200, 204}
        assert (await door.get(path, shown)).status == 404
        kept = noted(database_url)


async def test_what_others_count_up_is_no_other_version(door: Door) -> None:
    operator, key = await door.key(), await door.key("shop")
    shown = await door.get(f"{V1}/accounts/shop", operator)
    await door.post(f"{V1}/suppressions", key, json={"addresses": ["a@far.example"]})
    await door.post(f"{V1}/rules", key, json={"name": "all", "priority": 1, "action": {"type": "discard"}})
    counted = await door.get(f"{V1}/accounts/shop", operator)
    assert (counted.json["suppressed"], counted.json["rules"]) == (1, 1)
    assert counted.headers["etag"] == shown.headers["etag"]


async def test_only_the_version_that_is_meant_is_switched(door: Door, database_url: str) -> None:
    operator = await door.key()
    provider = {"name": "main", "kind": "smtp", "config": {"host": "mail.example.net"}}
    assert (await door.post(f"{V1}/providers", operator, json=provider)).status == 201
    kept, other = noted(database_url), {"headers": {"If-Match": '"another"'}}
    for path in (f"{V1}/providers/main", f"{V1}/accounts/bank"):
        found = await door.get(path, operator)
        for verb in ("disable", "enable"):
            refused = await door.post(f"{path}/{verb}", operator, **other)
            assert (refused.status, refused.headers["etag"]) == (412, found.headers["etag"])
        done = await door.post(f"{path}/disable", operator, headers={"If-Match": found.headers["etag"]})
        assert done.status == 200
        assert done.headers["etag"] == (await door.get(path, operator)).headers["etag"] != found.headers["etag"]
    refused = await door.call("PUT", f"{V1}/providers/main/secret", operator, json={"secret": "hush"}, **other)
    assert refused.status == 412
    assert noted(database_url) == [*kept, ("provider.disable", "main"), ("account.disable", "bank")]


async def test_a_suppression_list_comes_in_pages_and_as_a_file(door: Door, database_url: str) -> None:
    key, bank = await door.key("shop"), await door.key("bank")
    path = f"{V1}/suppressions"
    for n in range(3):
        added = {"addresses": [f"{n}@b.example", f'"a,b{n}"@b.example'], "stream": "news"}
        assert (await door.post(path, key, json=added)).status == 201
    assert (await door.post(path, bank, json={"addresses": ["other@b.example"]})).status == 201
    whole = (await door.get(path, key)).json
    assert (len(whole["items"]), whole["next"]) == (6, None)
    found, cursor = [], None
    while True:
        page = (await door.get(path, key, params={"limit": "4", **({"cursor": cursor} if cursor else {})})).json
        found += page["items"]
        if (cursor := page["next"]) is None:
            break
    assert found == whole["items"]
    for wrong in ("x", "WzFd", "WyJ4IiwieSIsInoiXQ", "WyIyMDI2LTAxLTAxIiwieSIsInoiXQ"):
        assert (await door.get(path, key, params={"cursor": wrong})).status == 422
    lines = await door.get(f"{path}/export", key, params={"format": "jsonl"})
    assert lines.headers["content-type"] == "application/jsonl"
    told = [json.loads(line) for line in lines.body.splitlines()]
    assert told == sorted(whole["items"], key=lambda each: each["address"])
    table = await door.get(f"{path}/export", key)
    assert table.headers["content-type"].startswith("text/csv")
    assert table.headers["content-disposition"] == 'attachment; filename="suppressions-shop.csv"'
    rows = list(csv.DictReader(io.StringIO(table.body.decode(), newline="")))
    assert rows == [{name: value or "" for name, value in each.items()} for each in told]
    assert (await door.get(f"{path}/export?account=bank", key)).status == 404
    assert (await door.get(f"{path}/export", await door.key("shop", "messages:read"))).status == 403
    assert noted(database_url)[-2:] == [("suppression.export", "jsonl"), ("suppression.export", "csv")]


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/credentials", {"networks": [False]}, "body/networks/0"),
        ("/keys", {"name": "x", "expires_at": 0}, "body/expires_at"),
        ("/keys", {"name": "x", "rate_per_minute": True}, "body/rate_per_minute"),
        ("/rules/simulate", {"recipients": ["a@b.example"], "size": False}, "body/size"),
        ("/suppressions", {"addresses": ["a@b.example"], "until": "1e9"}, "body/until"),
        ("/webhooks", {"url": "https://hooks.example.com/", "colour": "red"}, "body/colour"),
    ],
)
async def test_a_body_is_read_strictly(door: Door, path: str, body: dict[str, Any], where: str) -> None:
    answer = await door.post(V1 + path, await door.key("shop"), json=body)
    assert (answer.status, [fault["where"] for fault in answer.json["errors"]]) == (422, [where])


async def test_what_postgresql_cannot_keep_is_told(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    answer = await door.post(f"{V1}/keys", key, json={"name": "a\0b"})
    assert (answer.status, answer.json["detail"]) == (
        422,
        "PostgreSQL cannot keep it: a text has U+0000, or a number is too large",
    )
    assert (await door.post(f"{V1}/rules/simulate", key, json={"recipients": [""]})).status == 422
    assert (await door.get(f"{V1}/messages?since=0.5", key)).status == 422
    assert noted(database_url) == []


async def test_a_change_that_is_overtaken_is_refused(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    rule = {"name": "all", "priority": 1, "action": {"type": "discard"}}
    await door.post(f"{V1}/rules", key, json=rule)
    with pytest.raises(Conflict, match="somebody else changed it at this moment"):
        await overtaken(door, database_url)
    assert (await door.get(f"{V1}/rules/all", key)).json["priority"] == 7
    assert noted(database_url) == [("rule.create", "all")]


async def overtaken(door: Door, url: str) -> None:
    deed = Deed(account="shop", actor="a", action="b", subject="c", request="r", peer="p")
    async with door.house.change(deed) as office:
        await office.rules.show("shop", "all")
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("UPDATE routing_rule SET priority = 7")
        await office.rules.change("shop", "all", {"priority": 2})
