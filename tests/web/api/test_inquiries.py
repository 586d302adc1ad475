"""Tests of providers and secrets that are sealed anew, from the API to a worker's answer and back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from backing.notices import Listener, Notice
from mail.inquiries import MOST_TESTS
from mail.keys import Scope
from tests.waiting import until
from tests.web.conftest import Chosen
from tests.web.house import Answer, Door, serving
from tests.web.working import working
from tests.worker.peer import Peer
from tests.worker.telling import LOOPBACK

pytestmark = pytest.mark.anyio
V1 = "/api/v1"
SECRET = "hush-hush-0123456789"
MAIL = {"from": "a@shop.example", "to": "b@far.example"}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    """The API, whose providers may be on this machine."""
    async with serving(chosen(provider_allowed_networks=LOOPBACK)) as serves:
        yield serves


async def answered(door: Door, location: str, key: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            told: dict[str, Any] = (await door.get(location, key)).json
            if told["state"] not in {"waiting", "taken"}:
                return told
            await asyncio.sleep(0.05)


async def resealed(door: Door, path: str, key: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            told: dict[str, Any] = (await door.get(path, key)).json
            if told["reseal"]["state"] not in {"waiting", "taken"}:
                return told
            await asyncio.sleep(0.05)


async def made(door: Door, key: str, config: dict[str, Any], account: str = "?account=shop", **more: Any) -> Answer:
    body = {"name": "main", "kind": "smtp", "config": config, "secret": SECRET, **more}
    answer = await door.post(f"{V1}/providers{account}", key, json=body)
    assert answer.status == 201, answer
    return answer


async def test_a_provider_is_tested_before_it_is_enabled(door: Door, database_url: str, post: dict[str, str]) -> None:
    async with Peer({}, ("AUTH PLAIN",)).serving() as met:
        key = await door.key()
        await made(door, key, met.config | {"username": "user"})
        await door.post(f"{V1}/providers/main/disable?account=shop", key)
        asked = await door.post(f"{V1}/providers/main/tests?account=shop", key)
        location = asked.headers["location"]
        assert (asked.status, asked.json["state"], asked.json["steps"]) == (202, "waiting", [])
        assert location == f"{V1}/providers/main/tests/{asked.json['id']}?account=shop"
        async with working(database_url, post["kms"]):
            told = await answered(door, location, key)
    assert (told["state"], told["words"], told["recipients"]) == ("done", "Mail would go through.", [])
    assert (told["sender"], told["recipient"]) == (None, None)
    assert [each["step"] for each in told["steps"]][-2:] == ["greeting", "sign-in"]
    assert told["asked_by"].endswith(" test")
    assert [each for each in met.commands if each.startswith("MAIL")] == []
    with psycopg.connect(database_url) as connection:
        notes = connection.execute("SELECT action, subject FROM audit_log ORDER BY id DESC LIMIT 1").fetchall()
    assert notes == [("provider.test", "main")]


async def test_a_test_with_addresses_sends_one_mail(door: Door, database_url: str, post: dict[str, str]) -> None:
    async with Peer({"RCPT": ["250 ok", f"550 5.1.1 no {SECRET}"]}).serving() as met:
        key = await door.key()
        await made(door, key, met.config)
        found = []
        for _ in range(2):
            asked = await door.post(f"{V1}/providers/main/tests?account=shop", key, json=MAIL)
            async with working(database_url, post["kms"]):
                found.append(await answered(door, asked.headers["location"], key))
    assert [(each["state"], each["recipients"][0]["outcome"]) for each in found] == [
        ("done", "accepted"),
        ("failed", "permanent"),
    ]
    assert (found[0]["sender"], found[0]["recipient"]) == (MAIL["from"], MAIL["to"])
    assert found[1]["recipients"][0]["words"] == "5.1.1 no ***"
    assert len(met.messages) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"to": "b@far.example"}, "a mail needs both: from and to"),
        ({"from": "a@shop.example"}, "a mail needs both: from and to"),
        ({"from": "a@bank.example", "to": "b@far.example"}, "the account may not send from bank.example"),
        ({"from": "a@shop.example", "to": "nobody"}, "to: Bad address"),
        ({"from": "a@shop.example", "to": "b@far.example", "state": "done"}, "Extra inputs"),
    ],
)
async def test_a_mail_that_a_submission_would_not_be_is_refused(door: Door, body: dict[str, str], words: str) -> None:
    key = await door.key()
    await made(door, key, {"host": "mail.example"})
    answer = await door.post(f"{V1}/providers/main/tests?account=shop", key, json=body)
    assert answer.status == 422
    assert words in answer.body.decode()


async def test_a_provider_is_not_hammered(door: Door) -> None:
    key = await door.key()
    await made(door, key, {"host": "mail.example"})
    answers = [await door.post(f"{V1}/providers/main/tests?account=shop", key) for _ in range(MOST_TESTS + 1)]
    assert [each.status for each in answers] == [*[202] * MOST_TESTS, 429]
    assert 50 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json["detail"].startswith("provider 'main' was tested 6 times in 60 seconds; try again in ")


async def test_a_shared_provider_is_an_operators(door: Door) -> None:
    key, tenant = await door.key(), await door.key("shop")
    await made(door, key, {"host": "mail.example"}, "")
    asked = await door.post(f"{V1}/providers/main/tests", key)
    assert asked.headers["location"] == f"{V1}/providers/main/tests/{asked.json['id']}"
    assert (await door.get(asked.headers["location"], key)).status == 200
    assert (await door.get(asked.headers["location"], tenant)).status == 404
    assert (await door.get(f"{asked.headers['location']}?account=bank", key)).status == 404
    assert (await door.post(f"{V1}/providers/main/tests", tenant)).status == 403


async def test_a_tenant_sees_tests_of_its_own_provider(door: Door) -> None:
    key = await door.key()
    await made(door, key, {"host": "mail.example"})
    asked = await door.post(f"{V1}/providers/main/tests?account=shop", key)
    path = f"{V1}/providers/main/tests/{asked.json['id']}"
    reader = await door.key("shop", Scope.PROVIDERS_READ)
    assert (await door.get(path, reader)).json == asked.json
    assert (await door.get(path, await door.key("bank", Scope.PROVIDERS_READ))).status == 404
    assert (await door.get(f"{V1}/providers/main/secret", reader)).json["secret"] is True


async def test_a_secret_is_sealed_anew_and_tells_so(door: Door, database_url: str, post: dict[str, str]) -> None:
    key = await door.key()
    before = (await made(door, key, {"host": "mail.example"})).json
    assert before["secret_key"].endswith(f":key/{post['kms']}")
    assert before["secret_sealed_at"].endswith("Z")
    path = f"{V1}/providers/main/secret"
    asked = await door.post(f"{path}/reseal?account=shop", key)
    assert (asked.status, asked.headers["location"]) == (202, f"{path}?account=shop")
    assert asked.json["reseal"]["state"] == "waiting"
    async with working(database_url, post["kms"]):
        told = await resealed(door, f"{path}?account=shop", key)
        counts = [
            (await door.post(f"{V1}/{noun}/reseal{of}", key)).json["count"]
            for noun in ("providers", "webhooks")
            for of in ("", "?account=bank")
        ]
    assert told["key"] == before["secret_key"]
    assert told["reseal"]["words"].startswith("It is sealed under a new data key, by the KMS key arn:")
    assert counts == [1, 0, 0, 0]
    with psycopg.connect(database_url) as connection:
        notes = connection.execute("SELECT action, subject FROM audit_log WHERE action LIKE '%reseal'").fetchall()
    # What has nothing to do changes nothing, so there is nothing to note of it.
    assert sorted(notes) == [("provider.reseal", "all"), ("provider.reseal", "main")]


async def test_a_tenant_has_the_secrets_of_its_own_endpoints_sealed_anew(door: Door) -> None:
    shop = await door.key("shop")
    for key in (shop, await door.key("bank")):
        await door.post(f"{V1}/webhooks", key, json={"url": "https://hooks.example/"})
    assert (await door.post(f"{V1}/webhooks/reseal", shop)).json == {"count": 1}
    assert (await door.post(f"{V1}/webhooks/reseal", shop)).json == {"count": 0}
    assert (await door.post(f"{V1}/webhooks/reseal", await door.key())).json == {"count": 1}
    (shown,) = (await door.get(f"{V1}/webhooks", shop)).json["items"]
    assert ":key/" in shown["secret_key"]


async def test_a_worker_hears_at_once_that_something_is_asked(
    chosen: Chosen, accounts: None, database_url: str, post: dict[str, str], valkey_url: str
) -> None:
    del accounts
    heard: list[Notice] = []
    async with serving(chosen(cache_url=valkey_url)) as door:
        key = await door.key()
        await made(door, key, {}, kind="sandbox")
        async with working(database_url, post["kms"], every=600) as clerk:
            await asyncio.sleep(0.5)  # its first look is over
            async with Listener(
                door.house.cache, [clerk.hear, heard.append], lambda: heard.append(Notice("inquiry", ""))
            ).running():
                await until(lambda: heard)
                asked = await door.post(f"{V1}/providers/main/tests?account=shop", key)
                told = await answered(door, asked.headers["location"], key)
    assert told["state"] == "done"
    assert "inquiry" in {each.kind for each in heard[1:]}
