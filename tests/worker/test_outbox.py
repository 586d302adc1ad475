"""Events on their way to endpoints over real TLS, with a real database."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
import structlog
import trustme

from backing.admin.desk import Desk
from backing.admin.webhooks import Webhooks
from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.pool import Database
from backing.secrets import Vault
from backing.settings import Settings
from mail.endpoints import WAITS
from tests.conftest import REGION, free_port
from tests.waiting import until
from tests.worker.house import ACCOUNT, Books
from tests.worker.receiver import HANG, Answer, Receiver
from tests.worker.telling import LOOPBACK, House, Names, away

pytestmark = [pytest.mark.anyio, pytest.mark.long]

SECONDS = 30


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def receiver(authority: trustme.CA) -> Receiver:
    return Receiver(authority)


@pytest.fixture(scope="module")
def key(moto_url: str) -> str:
    kms: Any = boto3.client("kms", endpoint_url=moto_url, region_name=REGION)
    return str(kms.create_key()["KeyMetadata"]["KeyId"])


@pytest.fixture
def environment(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)


@pytest.fixture
async def house(books: Books, key: str, authority: trustme.CA, environment: None) -> AsyncIterator[House]:
    del environment
    books.account(None)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    aws = Aws(REGION)
    async with Database(Settings(database_url=books.url), aws).opened() as database, aws.kms() as kms:
        vault = Vault(kms, key)
        yield House(books, database, vault, trusted, Webhooks(Desk(database), vault, LOOPBACK))


async def test_what_happened_is_posted_once_signed_and_complete(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        issued = await house.webhooks.create("shop", receiver.url)
        message = await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("delivered", 1, 200)], SECONDS)
    (got,) = receiver.got
    ((event, when),) = house.books.run("SELECT id::text, created_at FROM outbox")
    assert got.signed_with(issued.secret)
    assert got.headers["content-type"] == "application/json"
    assert got.id == event
    assert json.loads(got.body) == {
        "version": 1,
        "id": event,
        "type": "recipient.accepted",
        "time": when.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "account_id": str(ACCOUNT),
        "data": {
            "message_id": str(message),
            "session": "s-1",
            "header_message_id": "<1@shop.example>",
            "stream": "",
            "tags": [],
            "recipient": "b@far.example",
            "n": 0,
            "state": "accepted",
            "provider": None,
            "code": 250,
            "enhanced": "2.0.0",
            "text": "so",
        },
    }


async def test_while_a_secret_rotates_both_sign(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        old = await house.webhooks.create("shop", receiver.url)
        new = await house.webhooks.rotate("shop", old.id)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: len(house.told()) == 1 and house.told()[0][0] == "delivered", SECONDS)
            house.books.run("UPDATE webhook_endpoint SET previous_until = now() - interval '1 s'")
            await house.happen("accepted")
            await until(lambda: len(receiver.got) == 2, SECONDS)
    seen = [(got.signed_with(old.secret), got.signed_with(new.secret)) for got in receiver.got]
    assert seen == [(True, True), (False, True)]


async def test_an_endpoint_that_fails_is_asked_again_with_the_same_id(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(500, body=b"not\x00now\r\n" + b"x" * 5000), Answer(204)]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("pending", 1, 500)], SECONDS)
            assert house.text().startswith("not now  xxx")
            assert len(house.text()) <= 500
            assert house.endpoint() == (True, None, True)
            house.hurry()
            await until(lambda: house.told() == [("delivered", 2, 204)], SECONDS)
    assert house.endpoint() == (True, None, False)
    first, second = receiver.got
    assert (first.id, first.body) == (second.id, second.body)


async def test_an_endpoint_that_was_down_gets_all_when_it_is_back(house: House, receiver: Receiver) -> None:
    receiver.port = free_port()
    await house.webhooks.create("shop", receiver.url)
    messages = {str(await house.happen("accepted")) for _ in range(3)}
    async with house.telling():
        await until(lambda: None not in house.texts(), SECONDS)
        assert house.told() == [("pending", 1, None)] * 3
        async with receiver.serving():
            house.hurry()
            await until(lambda: house.told() == [("delivered", 2, 200)] * 3, SECONDS)
    assert {json.loads(got.body)["data"]["message_id"] for got in receiver.got} == messages


async def test_what_an_endpoint_asks_for_in_retry_after_is_waited(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(429, {"Retry-After": "7200"})]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("pending", 1, 429)], SECONDS)
    assert house.books.run("SELECT next_attempt_at > now() + interval '1 h' FROM webhook_delivery") == [(True,)]


async def test_an_event_is_given_up_when_its_waits_are_used_up(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(400)]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        house.books.run("UPDATE webhook_delivery SET attempts = %s", len(WAITS) - 1)
        async with house.telling():
            await until(lambda: house.told() == [("pending", len(WAITS), 400)], SECONDS)
            house.hurry()
            await until(lambda: house.told() == [("failed", len(WAITS) + 1, 400)], SECONDS)


async def test_an_endpoint_that_is_gone_is_disabled_and_can_be_told_later(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(410), Answer(200)]
    async with receiver.serving():
        issued = await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("failed", 1, 410)], SECONDS)
            assert house.endpoint() == (False, "it answered 410 Gone", True)
            await house.happen("failed")
            assert len(house.told()) == 1
            await house.webhooks.enable("shop", issued.id)
            (since,) = house.books.run("SELECT min(created_at) FROM outbox")[0]
            assert await house.webhooks.replay("shop", issued.id, since, since + timedelta(days=1)) == 2
            await until(lambda: house.told() == [("delivered", 1, 200)] * 2, SECONDS)
    assert house.endpoint() == (True, None, False)


async def test_an_endpoint_that_takes_nothing_for_three_days_is_disabled(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(503)]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        house.books.run("UPDATE webhook_endpoint SET failing_since = now() - interval '73 h'")
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: not house.endpoint()[0], SECONDS)
    assert house.endpoint() == (False, "it has taken nothing for 3 days", True)
    assert house.told() == [("pending", 1, 503)]


async def test_an_endpoint_that_hangs_holds_up_no_other(
    house: House, receiver: Receiver, authority: trustme.CA
) -> None:
    other = Receiver(authority)
    receiver.answers = [HANG]
    async with receiver.serving(), other.serving():
        await house.webhooks.create("shop", receiver.url, ["recipient.accepted"])
        for _ in range(60):
            await house.happen("accepted")
        await house.webhooks.create("shop", other.url, ["recipient.failed"])
        async with house.telling():
            await until(lambda: len(receiver.got) == 10, SECONDS)
            await house.happen("failed")
            await until(lambda: house.told().count(("delivered", 1, 200)) == 1, SECONDS)
            assert len(receiver.got) == 10, "ten at a time, and none of them has been answered"


async def test_a_worker_that_dies_between_post_and_record_tells_it_again(house: House, receiver: Receiver) -> None:
    receiver.answers = [HANG, Answer(200)]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling() as worker:
            await until(lambda: len(receiver.got) == 1, SECONDS)
            worker.cancel()
        assert house.told() == [("pending", 1, None)]
        async with house.telling():
            await asyncio.sleep(0.3)
            assert len(receiver.got) == 1, "its lease is not over"
            house.hurry()
            await until(lambda: house.told() == [("delivered", 2, 200)], SECONDS)
    first, second = receiver.got
    assert first.id == second.id


async def test_what_cannot_be_written_down_is_told_again(house: House, receiver: Receiver) -> None:
    receiver.answers = [HANG, Answer(200)]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        with structlog.testing.capture_logs() as logs:
            async with house.telling():
                await until(lambda: len(receiver.got) == 1, SECONDS)
                with away(house.books.url):
                    receiver.over.set()
                    await until(lambda: any(line["event"] == "post not written down" for line in logs), SECONDS)
                house.hurry()
                await until(lambda: house.told() == [("delivered", 2, 200)], SECONDS)
    first, second = receiver.got
    assert first.id == second.id


async def test_two_workers_tell_each_event_once(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        for _ in range(30):
            await house.happen("accepted", "delivered")
        async with house.telling(), house.telling():
            await until(lambda: house.told() == [("delivered", 1, 200)] * 60, SECONDS)
    assert len({got.id for got in receiver.got}) == len(receiver.got) == 60


async def test_poison_spoils_only_itself(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        house.books.run('UPDATE outbox SET payload = \'["no", "object"]\'')
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("failed", 0, None), ("delivered", 1, 200)], SECONDS)
    assert len(receiver.got) == 1
    assert house.endpoint() == (True, None, False)


async def test_a_secret_that_does_not_open_hinders_only_its_endpoint(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        broken = await house.webhooks.create("shop", receiver.url)
        house.books.run("UPDATE webhook_endpoint SET secret = '\\x0001ff'")
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: len(receiver.got) == 1, SECONDS)
            await until(lambda: ("pending", 0, None) in house.told(), SECONDS)
            await house.webhooks.rotate("shop", broken.id, timedelta())
            house.hurry()
            await until(lambda: house.told() == [("delivered", 1, 200)] * 2, SECONDS)


async def test_redirects_are_failures_and_not_followed(house: House, receiver: Receiver) -> None:
    receiver.answers = [Answer(307, {"Location": "/elsewhere"})]
    async with receiver.serving():
        await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.told() == [("pending", 1, 307)], SECONDS)
    assert len(receiver.got) == 1


async def test_a_certificate_that_is_not_trusted_gets_nothing(house: House) -> None:
    stranger = Receiver(trustme.CA())
    async with stranger.serving():
        await house.webhooks.create("shop", stranger.url)
        await house.happen("accepted")
        async with house.telling():
            await until(lambda: house.texts() != [None], SECONDS)
    assert "certificate" in house.text().lower()
    assert stranger.got == []


@pytest.mark.parametrize(
    ("host", "names"),
    [
        ("127.0.0.1", {}),
        ("[::ffff:127.0.0.1]", {}),
        ("2130706433", {"2130706433": ["127.0.0.1"]}),
        ("0x7f.1", {"0x7f_1": ["127.0.0.1"]}),
        ("hook.example", {"hook_example": ["127.0.0.1"]}),
        ("hook.example", {"hook_example": ["8.8.8.8", "127.0.0.1"]}),
        ("hook.example", {"hook_example": ["127.0.0.1", "8.8.8.8"]}),
        ("hook.example", {"hook_example": ["::ffff:127.0.0.1"]}),
    ],
)
async def test_nothing_is_posted_into_our_own_network(
    house: House, receiver: Receiver, host: str, names: dict[str, list[str]]
) -> None:
    said = {
        "127.0.0.1 is not an address on the public internet, nor within WEBHOOK_ALLOWED_NETWORKS",
        "::ffff:127.0.0.1 is not an address on the public internet, nor within WEBHOOK_ALLOWED_NETWORKS",
        "2130706433 - is not a canonical IPv4 address",
    }
    async with receiver.serving():
        await house.webhooks.create("shop", "https://harmless.example/")
        # As a row that came past the check of a new URL.
        house.books.run("UPDATE webhook_endpoint SET url = %s", f"https://{host}:{receiver.port}/")
        await house.happen("accepted")
        async with house.telling((), Names(**names)):
            await until(lambda: house.texts() != [None], SECONDS)
    assert receiver.got == []
    assert house.told() == [("pending", 1, None)]
    assert house.text() in said


async def test_a_name_is_connected_to_at_the_address_that_was_looked_at(house: House, receiver: Receiver) -> None:
    names = Names(hook_example=["127.0.0.1"])
    async with receiver.serving():
        await house.webhooks.create("shop", f"https://hook.example:{receiver.port}/")
        await house.happen("accepted")
        async with house.telling(LOOPBACK, names):
            await until(lambda: house.told() == [("delivered", 1, 200)], SECONDS)
    assert names.asked == ["hook.example"], "a second look could lead elsewhere"
    assert receiver.got[0].headers["host"] == f"hook.example:{receiver.port}"


async def test_deleted_endpoints_and_foreign_events_are_not_told(house: House, receiver: Receiver) -> None:
    async with receiver.serving():
        issued = await house.webhooks.create("shop", receiver.url)
        await house.happen("accepted")
        await house.webhooks.delete("shop", issued.id)
        house.books.run("INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'bakery', '{}')", new_id())
        await house.webhooks.create("bakery", receiver.url)
        await house.happen("failed")
        async with house.telling():
            await house.webhooks.test("bakery", UUID((await house.webhooks.of("bakery"))[0]["id"]))
            await until(lambda: receiver.got, SECONDS)
    assert [json.loads(got.body)["type"] for got in receiver.got] == ["endpoint.test"]
    assert json.loads(receiver.got[0].body)["data"] == {}
