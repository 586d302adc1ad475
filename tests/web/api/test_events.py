"""Calls of providers that tell what became of mail."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from structlog.testing import capture_logs

from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG
from mail.events.verify import SENDGRID_SIGNATURE, SENDGRID_TIMESTAMP
from tests.backing.mailbook import Mailbook
from tests.mail.events import calls
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

KEY = "key-of-the-webhook"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
PATH = "/api/v1/provider-events"


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen()) as serves:
        yield serves


async def provider(door: Door, kind: str, event_key: str) -> UUID:
    config = {"domain": "mg.shop.example"} if kind == "mailgun" else {}
    new = {"name": kind, "kind": kind, "config": config, "secret": json.dumps({"api_key": "k", "event_key": event_key})}
    made = await door.post("/api/v1/providers?account=shop", await door.key(), json=new)
    assert made.status == 201, made
    return UUID(made.json["id"])


def mailgun(kind: str, message: UUID, key: str = KEY, token: str = "t" * 50) -> bytes:
    stamp = str(int(time.time()))
    call: dict[str, Any] = calls.mailgun(kind)
    call["event-data"]["user-variables"] = {MESSAGE_TAG: str(message), RECIPIENT_TAG: "0"}
    digest = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    call["signature"] = {"timestamp": stamp, "token": token, "signature": digest}
    return calls.body(call)


async def test_a_signed_call_moves_its_recipient_once(door: Door, book: Mailbook) -> None:
    owner = await provider(door, "mailgun", KEY)
    message = book.mail(owner, "accepted", "bob@far.example", named="x")
    body = mailgun("delivered", message)
    answers = [await door.post(f"{PATH}/{owner}", data=body) for _ in range(2)]
    assert [(answer.status, answer.body) for answer in answers] == [(204, b"")] * 2
    assert book.states(message) == ["delivered"]
    assert book.run("SELECT kind, effect FROM provider_event WHERE kind <> 'call'") == [("delivered", "applied")]
    forged = await door.post(f"{PATH}/{owner}", data=mailgun("delivered", message, key="another", token="u" * 50))
    unknown = await door.post(f"{PATH}/{UUID(int=7)}", data=body)
    assert [(answer.status, answer.json["detail"]) for answer in (forged, unknown)] == [
        (401, "the call does not come from this provider")
    ] * 2


async def test_sendgrid_signs_and_postmark_has_a_password(door: Door) -> None:
    public = EC_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    sendgrid = await provider(door, "sendgrid", base64.b64encode(public).decode())
    body, stamp = calls.body([calls.sendgrid("delivered")]), str(int(time.time()))
    signature = base64.b64encode(EC_KEY.sign(stamp.encode() + body, ec.ECDSA(SHA256()))).decode()
    headers = {SENDGRID_TIMESTAMP: stamp, SENDGRID_SIGNATURE: signature}
    assert (await door.post(f"{PATH}/{sendgrid}", data=body, headers=headers)).status == 204
    assert (await door.post(f"{PATH}/{sendgrid}", data=body + b" ", headers=headers)).status == 401
    postmark = await provider(door, "postmark", KEY)
    basic = {"Authorization": "Basic " + base64.b64encode(f"events:{KEY}".encode()).decode()}
    body = calls.body(calls.postmark("Delivery"))
    assert (await door.post(f"{PATH}/{postmark}", data=body, headers=basic)).status == 204
    assert (await door.post(f"{PATH}/{postmark}", data=b"[]", headers=basic)).status == 400
    assert (await door.post(f"{PATH}/{postmark}", data=body)).status == 401


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [
        ("mailgun", "", "the provider has no webhook signing key"),
        ("postmark", "", "the provider has no webhook password"),
        ("sendgrid", "", "the provider's webhook verification key is none"),
        ("sendgrid", "bm8ga2V5", "the provider's webhook verification key is none"),
    ],
)
async def test_a_provider_without_a_key_is_asked_to_call_again_and_the_operator_is_told_which(
    door: Door, book: Mailbook, kind: str, key: str, reason: str
) -> None:
    owner = await provider(door, kind, key)
    message = book.mail(owner, "accepted", named="x")
    with capture_logs() as logs:
        answer = await door.post(f"{PATH}/{owner}", data=mailgun("delivered", message))
    told = "calls of this provider cannot be checked: it has no fit verification key yet; call again later"
    assert (answer.status, answer.json["detail"], answer.headers["retry-after"]) == (503, told, "600")
    (log,) = [each for each in logs if each["event"] == "events refused for want of a key"]
    assert log == {
        "event": "events refused for want of a key",
        "log_level": "error",
        "provider": str(owner),
        "name": kind,
        "kind": kind,
        "account": "shop",
        "reason": reason,
        "remedy": "put it into the provider's secret as event_key",
    }


async def test_what_was_refused_for_want_of_a_key_counts_once_there_is_one(door: Door, book: Mailbook) -> None:
    owner = await provider(door, "mailgun", "")
    message = book.mail(owner, "accepted", "bob@far.example", named="x")
    body = mailgun("delivered", message)
    assert (await door.post(f"{PATH}/{owner}", data=body)).status == 503
    secret = {"secret": json.dumps({"api_key": "k", "event_key": KEY})}
    put = await door.call("PUT", "/api/v1/providers/mailgun/secret?account=shop", await door.key(), json=secret)
    assert put.status in {200, 204}, put
    assert (await door.post(f"{PATH}/{owner}", data=body)).status == 204
    assert book.states(message) == ["delivered"]
