"""Endpoints of an account over the API: changed, and what a version of one is."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from tests.web.conftest import Chosen
from tests.web.house import Door, noted, serving

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


async def test_an_endpoint_is_changed(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    made = await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example.com/a"})
    path = f"{V1}/webhooks/{made.json['id']}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE webhook_endpoint SET failing_since = now()")
    before = await door.get(path, key)
    change = {"url": "https://hooks.example.com/b", "types": ["recipient.failed", "recipient.bounced"]}
    changed = await door.call("PATCH", path, key, json=change, headers={"If-Match": before.headers["etag"]})
    told = {"url": change["url"], "types": ["recipient.bounced", "recipient.failed"], "failing_since": None}
    assert (changed.status, changed.json) == (200, before.json | told)
    again = await door.get(path, key)
    assert (again.json, again.headers["etag"]) == (changed.json, changed.headers["etag"])
    stopped = await door.call("PATCH", path, key, json={"types": [], "enabled": False})
    words = f"disabled with the key {key.split('_')[1]}"
    assert stopped.json == changed.json | {"types": None, "enabled": False, "disabled_reason": words}
    started = await door.call("PATCH", path, key, json={"enabled": True})
    assert started.json == changed.json | {"types": None}
    kept = noted(database_url)
    assert [action for action, _ in kept] == ["webhook.create", *["webhook.change"] * 3]
    for wrong in (
        {"url": "https://10.0.0.1/"},
        {"url": "http://hooks.example.com/"},
        {"types": ["recipient.flown"]},
        {"secret": "mine"},
    ):
        assert (await door.call("PATCH", path, key, json=wrong)).status == 422, wrong
    assert (await door.get(path, key)).json == started.json
    assert noted(database_url) == kept


async def test_a_version_of_an_endpoint_is_what_its_owner_changes(door: Door, database_url: str) -> None:
    key = await door.key("shop")
    made = await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example.com/a"})
    path = f"{V1}/webhooks/{made.json['id']}"
    tags = [(await door.get(path, key)).headers["etag"]]
    assert (await door.post(f"{path}/test", key)).status == 202
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE webhook_endpoint SET failing_since = now()")
    shown = await door.get(path, key)
    assert (shown.json["waiting"], shown.json["failing_since"] is None) == (1, False)
    assert shown.headers["etag"] == tags[0]

    kept, late = noted(database_url), {"If-Match": '"another"'}
    for method, below, body in (
        ("PATCH", "", {"enabled": False}),
        ("POST", "/enable", None),
        ("POST", "/disable", None),
        ("POST", "/rotate", None),
        ("DELETE", "", None),
    ):
        answer = await door.call(method, path + below, key, json=body, headers=late)
        assert (answer.status, answer.headers["etag"]) == (412, tags[0]), (method, below)
    assert (await door.get(path, key)).json == shown.json
    assert noted(database_url) == kept

    # A secret that is exchanged is another version, and so is a switch.
    for below, status in (("rotate", 201), ("disable", 204), ("enable", 204)):
        answer = await door.post(f"{path}/{below}", key, headers={"If-Match": tags[-1]})
        assert answer.status == status, below
        tags.append((await door.get(path, key)).headers["etag"])
    assert tags[1] == tags[3]
    assert len(set(tags)) == 3
    assert (await door.call("DELETE", path, key, headers={"If-Match": tags[-1]})).status == 204
    assert (await door.call("PATCH", path, key, json={"enabled": True})).status == 404
