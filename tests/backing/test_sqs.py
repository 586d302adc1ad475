"""Sending to a queue without the SDK: against two servers of the SQS API, and against one that misbehaves as told."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from botocore.httpsession import get_cert_path

from backing.aws import Aws
from backing.awsjson import JsonService, http_session
from backing.signing import Keys, Signer
from backing.sqs import MAX_BATCH_TEXT, Outgoing, Queue
from mail.errors import Unavailable

REGION = "eu-central-1"
NASTY = '{"a":"\\u00e9 \\\\ \\" \\n / <&>","b":["~\x7f",null]}'
pytestmark = pytest.mark.anyio


@asynccontextmanager
async def new_queue(aws: Aws) -> AsyncIterator[Queue]:
    async with aws.sqs(read_timeout=10) as client, aws.direct_sqs(client) as direct:
        yield Queue(client, (await client.create_queue(QueueName=f"q-{uuid.uuid1()}"))["QueueUrl"], direct)


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    return Aws(REGION)


async def test_what_is_sent_directly_arrives_as_it_was(aws: Aws) -> None:
    async with new_queue(aws) as queue:
        texts = [NASTY, *(f'{{"job":{n}}}' for n in range(9))]
        assert await queue.send([Outgoing(text, "account-1") for text in texts]) == [None] * 10
        assert sorted(message.text for message in await queue.receive(10, 0, 30)) == sorted(texts)


async def test_a_batch_of_the_largest_size_passes(aws: Aws) -> None:
    async with new_queue(aws) as queue:
        text = "x" * MAX_BATCH_TEXT
        assert await queue.send([Outgoing(text, "account")]) == [None]
        assert [message.text for message in await queue.receive(1, 0, 30)] == [text]


async def test_a_queue_that_is_not_there_is_unavailable(aws: Aws, aws_url: str) -> None:
    async with aws.sqs() as client, aws.direct_sqs(client) as direct:
        with pytest.raises(Unavailable, match=r"AmazonSQS SendMessageBatch: .*(NonExistentQueue|QueueDoesNotExist)"):
            await Queue(client, f"{aws_url}/123456789012/none", direct).send([Outgoing("x", "a")])


@dataclass
class Service:
    """Answers in turn as it is told, the last one for ever; None breaks the connection off."""

    answers: list[bytes | None]
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]:
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head)}
                self.asked.append((headers, await reader.readexactly(int(headers["content-length"]))))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    break
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def answer(status: int, document: object, headers: Sequence[str] = ()) -> bytes:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    head = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*head, "", ""]).encode() + body


def fault(code: str, headers: Sequence[str] = (), status: int = 400) -> bytes:
    return answer(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "because"}, headers)


DONE = answer(200, {"Successful": [{"Id": "0"}]})


async def keys() -> Keys:
    return Keys("AKIA", "hush", "token")


@asynccontextmanager
async def talking(service: Service, read_timeout: float = 5) -> AsyncIterator[Queue]:
    limits = aiohttp.ClientTimeout(total=None, sock_read=read_timeout)
    async with await asyncio.start_server(service, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with http_session(limits, str(get_cert_path(verify=True))) as http, Aws(REGION).sqs() as client:
            yield Queue(client, f"{url}/1/q", JsonService(http, url, "AmazonSQS", Signer(REGION, "sqs"), keys))


async def test_each_entry_has_its_own_result() -> None:
    failed = {"Id": "2", "Code": "InternalError", "Message": "sorry", "SenderFault": False}
    service = Service([answer(200, {"Successful": [{"Id": "0"}], "Failed": [failed]})])
    async with talking(service) as queue:
        sent = await queue.send([Outgoing("a", "g"), Outgoing("b", "g"), Outgoing("c", "g")])
    assert sent == [None, "not mentioned in the answer", "InternalError: sorry"]
    ((headers, body),) = service.asked
    assert headers["x-amz-target"] == "AmazonSQS.SendMessageBatch"
    assert headers["x-amz-security-token"] == "token"
    entries = [{"Id": str(n), "MessageGroupId": "g", "MessageBody": text} for n, text in enumerate("abc")]
    assert json.loads(body)["Entries"] == entries


@pytest.mark.parametrize(
    "trouble",
    [
        None,
        answer(503, b"<html>no</html>"),
        answer(500, {}),
        fault("RequestThrottled"),
        fault("ThrottlingException"),
        answer(429, {}),
    ],
    ids=["cut", "503", "500", "throttled", "throttling", "429"],
)
async def test_what_may_pass_is_tried_again(trouble: bytes | None) -> None:
    service = Service([trouble, trouble, DONE])
    async with talking(service) as queue:
        assert await queue.send([Outgoing("a", "g")]) == [None]
    assert len(service.asked) == 3
    assert len({body for _, body in service.asked}) == 1


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (None, "ServerDisconnectedError"),
        (fault("ServiceUnavailable", status=503), "ServiceUnavailable: because"),
        (answer(200, b"hello"), "JSONDecodeError"),
        (answer(200, []), "no JSON object"),
    ],
    ids=["cut", "503", "no JSON", "list"],
)
async def test_what_lasts_is_unavailable_after_three_tries(trouble: bytes | None, reason: str) -> None:
    service = Service([trouble])
    async with talking(service) as queue:
        with pytest.raises(Unavailable, match=f"AmazonSQS SendMessageBatch: .*{reason}"):
            await queue.send([Outgoing("a", "g")])
    assert len(service.asked) == 3


async def test_what_cannot_pass_is_not_tried_again() -> None:
    service = Service([fault("AccessDeniedException")])
    async with talking(service) as queue:
        with pytest.raises(Unavailable, match=r"^AmazonSQS SendMessageBatch: AccessDeniedException: because$"):
            await queue.send([Outgoing("a", "g")])
    assert len(service.asked) == 1


async def test_a_service_that_says_nothing_is_unavailable() -> None:
    service = Service([b""])
    async with talking(service, read_timeout=0.05) as queue:
        with pytest.raises(Unavailable, match="AmazonSQS SendMessageBatch: SocketTimeoutError"):
            await queue.send([Outgoing("a", "g")])
    assert len(service.asked) == 3


@pytest.mark.parametrize("code", ["InvalidSignatureException", "SignatureDoesNotMatch", "RequestExpired"])
async def test_a_clock_that_is_off_is_set_by_the_service(code: str) -> None:
    theirs = datetime.now(UTC) + timedelta(minutes=20)
    service = Service([fault(code, [f"Date: {format_datetime(theirs, usegmt=True)}"]), DONE])
    async with talking(service) as queue:
        assert await queue.send([Outgoing("a", "g")]) == [None]
        assert await queue.send([Outgoing("b", "g")]) == [None]
    stamps = [datetime.strptime(headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z") for headers, _ in service.asked]
    assert [abs(stamp - theirs) < timedelta(minutes=1) for stamp in stamps] == [False, True, True]


@pytest.mark.parametrize(
    "date",
    [
        None,
        "soon",
        "Thu, 26 Nov 2026 10:00:00 -0000",
        "Thu, 26 Nov 2026 10:00:00",
    ],
    ids=["agrees", "no date", "unknown zone", "no zone"],
)
async def test_a_signature_that_is_wrong_for_another_reason_is_unavailable(date: str | None) -> None:
    date = date or format_datetime(datetime.now(UTC), usegmt=True)
    service = Service([fault("InvalidSignatureException", [f"Date: {date}"])])
    async with talking(service) as queue:
        with pytest.raises(Unavailable, match="InvalidSignatureException: because"):
            await queue.send([Outgoing("a", "g")])
    assert len(service.asked) == 1


async def test_without_credentials_it_is_unavailable(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    aws = Aws(REGION)
    async with aws.sqs() as client, aws.direct_sqs(client) as direct:
        with pytest.raises(Unavailable, match=r"^AWS credentials: none found$"):
            await Queue(client, "http://q", direct).send([Outgoing("a", "g")])
