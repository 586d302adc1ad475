"""Messages that are submitted over HTTP, and the jobs that they become."""

import email
import email.policy
import io
from typing import Any
from uuid import UUID

import boto3
import psycopg
import pytest

from mail.job import Job, StoredBody, decode
from tests.conftest import REGION
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/messages"
RAW = b"From: a@shop.example\r\nMessage-ID: <1@shop.example>\r\nSubject: hello\r\n\r\n.dot\r\n"
MESSAGE = {"headers": {"Content-Type": "message/rfc822"}, "params": {"from": "a@shop.example", "to": "b@far.example"}}
LETTER: dict[str, Any] = {
    "from": {"address": "a@shop.example", "name": "The Shöp"},
    "to": [{"address": "b@far.example", "name": "Ada, the first"}],
    "cc": [{"address": "c@far.example"}],
    "bcc": [{"address": "d@far.example"}, {"address": "b@far.example"}],
    "subject": "Größe: 9",
    "text": "Hello\n.dot\n",
    "html": "<p>Hello</p>",
    "headers": {"X-Order": "17"},
    "attachments": [{"filename": "a.pdf", "content_type": "application/pdf", "content": "JVBERi0="}],
    "stream": "invoices",
    "tags": ["a", "b"],
}


def jobs(post: dict[str, str]) -> list[Job]:
    """Take all that is on the queue."""
    client: Any = boto3.client("sqs", endpoint_url=post["endpoint"], region_name=REGION)
    found: list[Job] = []
    while messages := client.receive_message(QueueUrl=post["queue_url"], MaxNumberOfMessages=10).get("Messages"):
        for each in messages:
            client.delete_message(QueueUrl=post["queue_url"], ReceiptHandle=each["ReceiptHandle"])
            found.append(decode(each["Body"]))
    return found


async def test_a_raw_message_goes_on_the_queue_as_it_is(door: Door, post: dict[str, str]) -> None:
    key = await door.key("shop")
    options = {"headers": {**MESSAGE["headers"], "X-Request-Id": "r-1"}, "params": MESSAGE["params"]}
    answer = await door.post(PATH, key, data=RAW, **options)
    assert (answer.status, answer.json["replayed"]) == (202, False)
    [job] = jobs(post)
    assert isinstance(job.body, bytes)
    assert (str(job.id), job.mail_from, [r.address for r in job.recipients]) == (
        answer.json["id"],
        "a@shop.example",
        ["b@far.example"],
    )
    head, content = job.body[: job.head], job.body[job.head :]
    assert content == RAW
    assert head.startswith(
        b"Received: from unknown ([127.0.0.1])\r\n\tby localhost with HTTP id " + str(job.id).encode()
    )
    assert b"(session r-1)" in head
    assert (job.size, job.session, job.header_message_id) == (len(job.body), "r-1", "<1@shop.example>")


async def test_a_letter_becomes_a_message(door: Door, post: dict[str, str]) -> None:
    answer = await door.post(PATH, await door.key("shop"), json=LETTER)
    assert answer.status == 202, answer
    [job] = jobs(post)
    assert isinstance(job.body, bytes)
    assert [r.address for r in job.recipients] == ["b@far.example", "c@far.example", "d@far.example"]
    message = email.message_from_bytes(job.body[job.head :], policy=email.policy.default)
    shown = ("From", "To", "Cc", "Bcc", "Subject", "X-Order", "X-Stream", "X-Tag", "Message-ID")
    assert {name: message[name] for name in shown} == {
        "From": "The Shöp <a@shop.example>",
        "To": '"Ada, the first" <b@far.example>',
        "Cc": "c@far.example",
        "Bcc": None,
        "Subject": "Größe: 9",
        "X-Order": "17",
        "X-Stream": "invoices",
        "X-Tag": "a, b",
        "Message-ID": f"<{job.id}@shop.example>",
    }
    assert [part.get_content_type() for part in message.walk() if not part.is_multipart()] == [
        "text/plain",
        "text/html",
        "application/pdf",
    ]
    assert job.body.isascii()
    assert not job.smtputf8


async def test_repeated_with_its_key_it_is_one_message(door: Door, post: dict[str, str], database_url: str) -> None:
    key, bank = await door.key("shop"), await door.key("bank")
    mine = {"headers": {"Idempotency-Key": "order-17"}}
    answers = [await door.post(PATH, key, json=LETTER, **mine) for _ in range(3)]
    assert [(answer.status, answer.json["replayed"]) for answer in answers] == [(202, False), (202, True), (202, True)]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert [answer.headers.get("idempotency-replayed") for answer in answers] == [None, "true", "true"]
    assert len(jobs(post)) == 1
    other = await door.post(PATH, key, json={**LETTER, "subject": "other"}, **mine)
    assert (other.status, other.json["detail"]) == (
        422,
        f"this Idempotency-Key stands for another message, {answers[0].json['id']}",
    )
    letter = {**LETTER, "from": {"address": "a@bank.example"}}
    assert (await door.post(PATH, bank, json=letter, **mine)).json["replayed"] is False
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE api_submission SET confirmed = false")
    again = await door.post(PATH, key, json=LETTER, **mine)
    assert (again.json["id"], again.json["replayed"]) == (answers[0].json["id"], False)
    assert str(jobs(post)[-1].id) == answers[0].json["id"]


async def test_a_large_message_lies_in_the_bucket(door: Door, post: dict[str, str]) -> None:
    raw = RAW.replace(b"Subject", b"X-Stream: news\r\nSubject") + b"x" * 70 + b"\r\n"
    raw += (b"y" * 70 + b"\r\n") * 20_000
    answer = await door.post(PATH, await door.key("shop"), data=io.BytesIO(raw), **MESSAGE)
    assert answer.status == 202, answer
    [job] = jobs(post)
    assert isinstance(job.body, StoredBody)
    client: Any = boto3.client("s3", endpoint_url=post["endpoint"], region_name=REGION)
    stored = client.get_object(Bucket=job.body.bucket, Key=job.body.key)["Body"].read()
    assert (stored[job.head :], job.stream) == (raw, "news")


@pytest.mark.requirement("CORE-SMTP-002")
async def test_what_the_relay_would_refuse_is_refused(door: Door, post: dict[str, str], database_url: str) -> None:
    key = await door.key("shop")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute('UPDATE account SET check_from = true, quotas = \'{"day": {"recipients": 2}}\'')
    headers = MESSAGE["headers"]

    async def raw(content: bytes = RAW, **params: str) -> tuple[int, str]:
        options = {"headers": headers, "params": {**MESSAGE["params"], **params}}
        answer = await door.post(PATH, key, data=content, **options)
        return answer.status, answer.json.get("detail", "")

    assert await raw(RAW, **{"from": "a@bank.example"}) == (
        422,
        "Account shop may not send from bank.example; allowed: shop.example",
    )
    assert await raw(RAW.replace(b"a@shop", b"a@bank")) == (
        422,
        "Account shop may not send with From of bank.example; allowed: shop.example",
    )
    assert await raw(to="nobody") == (422, "Bad address: an address needs a local part, @ and a domain")
    assert await raw(RAW + b"bare\nlf\r\n") == (422, "the message has a bare CR or LF among lines that end in CRLF")
    assert await raw(RAW + b"\0\r\n") == (422, "the message has a NUL octet")
    assert await raw(RAW.replace(b"\r\n", b"\n")) == (202, "")
    assert [(await raw())[0] for _ in range(2)] == [202, 429]
    assert jobs(post)[0].body[-6:] == b".dot\r\n"  # type: ignore[index]  # a message so small has its body in it


async def test_a_wrong_letter_is_told_field_by_field(door: Door) -> None:
    key = await door.key("shop")
    wrong = {
        **LETTER,
        "to": [{"address": "nobody"}],
        "subject": "a\nBcc: x@y.example",
        "headers": {"Bcc": "x@y.example"},
        "colour": "red",
    }
    answer = await door.post(PATH, key, json=wrong)
    assert answer.status == 422
    assert [fault["where"] for fault in answer.json["errors"]] == [
        "body/to/0/address",
        "body/subject",
        "body/headers/Bcc/[key]",
        "body/colour",
    ]
    assert b"x@y.example" not in answer.body
    assert (await door.post(PATH, key, data=b"x", headers={"Content-Type": "text/plain"})).status == 415
    assert (await door.post(PATH, key, data=b"{", headers={"Content-Type": "application/json"})).status == 400
    deep = b"[" * 50_000
    assert (await door.post(PATH, key, data=deep, headers={"Content-Type": "application/json"})).status == 400


@pytest.mark.usefixtures("accounts")
async def test_a_queue_that_is_away_is_told_and_nothing_is_lost(chosen: Chosen) -> None:
    away = chosen(queue_url="http://127.0.0.1:9/000000000000/none", body_bucket="none")
    async with serving(away) as door:
        answer = await door.post(PATH, await door.key("shop"), json=LETTER)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "127.0.0.1:9" not in answer.body.decode()


async def test_an_operator_names_the_account(door: Door, post: dict[str, str]) -> None:
    operator = await door.key()
    assert (await door.post(PATH, operator, json=LETTER)).status == 422
    answer = await door.post(PATH, operator, json=LETTER, params={"account": "shop"})
    assert answer.status == 202
    [job] = jobs(post)
    assert job.id == UUID(answer.json["id"])
    assert (await door.post(PATH, await door.key("bank"), json=LETTER, params={"account": "shop"})).status == 404


async def test_a_message_that_no_worker_has_taken_is_told_as_queued(
    door: Door, post: dict[str, str], database_url: str
) -> None:
    key, bank, operator = await door.key("shop"), await door.key("bank"), await door.key()
    kept = await door.post(PATH, key, json=LETTER, headers={"Idempotency-Key": "order-18"})
    plain = await door.post(PATH, key, data=RAW, **MESSAGE)
    assert {str(job.id) for job in jobs(post)} == {kept.json["id"], plain.json["id"]}
    for answer in (kept, plain):
        path = f"{PATH}/{answer.json['id']}"
        told = await door.get(path, key)
        assert (told.status, told.json) == (
            200,
            {
                "id": answer.json["id"],
                "account": "shop",
                "state": "queued",
                "accepted_at": told.json["accepted_at"],
                "orders": [],
            },
        )
        assert told.json["accepted_at"].endswith("Z")
        assert [(await door.get(path, each)).status for each in (operator, bank)] == [200, 404]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE api_submission SET confirmed = false WHERE octet_length(key) = 32")
        connection.execute("UPDATE api_submission SET expires_at = now() WHERE octet_length(key) = 16")
    gone = [(await door.get(f"{PATH}/{answer.json['id']}", key)).status for answer in (kept, plain)]
    assert gone == [404, 404]
