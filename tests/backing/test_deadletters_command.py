"""`deadletters`: what the delivery queue has given up, against two servers of the SQS API."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid1

import boto3
import psycopg
import pytest

from backing.ids import new_id
from tests.backing.conftest import REGION, Run, Said
from tests.conftest import free_port
from tests.waiting import wait_until

ACCOUNT = UUID(int=7)


@dataclass(frozen=True, slots=True)
class Queues:
    """A delivery queue with its dead-letter queue, and the command between them."""

    sqs: Any
    delivery: str
    dead: str
    command: Callable[..., Said]

    def set_aside(self, text: str, reason: str = "field 'id' is missing") -> str:
        """Put a message where a worker puts what it cannot read."""
        attributes = {"Reason": {"DataType": "String", "StringValue": reason}}
        return str(
            self.sqs.send_message(QueueUrl=self.dead, MessageBody=text, MessageAttributes=attributes)["MessageId"]
        )

    def give_up(self, text: str) -> str:
        """Receive a message so often that the queue moves it."""
        sent = self.sqs.send_message(QueueUrl=self.delivery, MessageBody=text, MessageGroupId=str(ACCOUNT))

        def moved() -> bool:
            self.sqs.receive_message(QueueUrl=self.delivery, VisibilityTimeout=0)
            return self.waiting(self.dead) == 1

        wait_until(moved, 30, "the queue does not move what comes too often")
        return str(sent["MessageId"])

    def waiting(self, url: str) -> int:
        name = "ApproximateNumberOfMessages"
        return int(self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])["Attributes"][name])

    def taken(self) -> list[tuple[str, str | None]]:
        """Text and group of what is on the delivery queue."""
        found: dict[str, tuple[str, str | None]] = {}
        while messages := self.sqs.receive_message(
            QueueUrl=self.delivery, MaxNumberOfMessages=10, VisibilityTimeout=60, AttributeNames=["All"]
        ).get("Messages"):
            found |= {each["MessageId"]: (each["Body"], each["Attributes"].get("MessageGroupId")) for each in messages}
        return sorted(found.values(), key=str)

    def listed(self, *options: str) -> list[dict[str, Any]]:
        said = self.command("list", "--json", *options)
        assert said.returncode == 0, said.stderr
        found: list[dict[str, Any]] = json.loads(said.stdout)
        return found


@pytest.fixture
def queues(run: Run, aws_url: str) -> Iterator[Queues]:
    sqs = boto3.client("sqs", endpoint_url=aws_url, region_name=REGION)
    name = f"q-{uuid1()}"
    dead = sqs.create_queue(QueueName=f"{name}-dlq")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    delivery = sqs.create_queue(QueueName=name, Attributes={"RedrivePolicy": policy})["QueueUrl"]

    def command(*words: str, **changes: str) -> Said:
        places = {"QUEUE_URL": delivery, "DEAD_LETTER_QUEUE_URL": dead, "AWS_ENDPOINT_URL": aws_url}
        return run("deadletters", *words, **places | changes)

    yield Queues(sqs, delivery, dead, command)
    for url in (delivery, dead):
        sqs.delete_queue(QueueUrl=url)


def job(message: UUID, **more: Any) -> str:
    return json.dumps({"v": 1, "id": str(message), "account_id": str(ACCOUNT), **more})


def test_dead_letters_are_shown_with_the_reason_and_stay(queues: Queues) -> None:
    message = new_id()
    moved = queues.give_up(job(message))
    aside = queues.set_aside("no job\xe9")
    for _ in range(2):
        letters = {each.pop("id"): each for each in queues.listed()}
        assert all(each.pop("receives") > 0 and each.pop("queued_at") for each in letters.values())
        assert letters == {
            moved: {
                "message": str(message),
                "account": str(ACCOUNT),
                "reason": "received too often",
                "size": len(job(message)),
            },
            aside: {"message": None, "account": None, "reason": "field 'id' is missing", "size": 8},
        }
    assert queues.waiting(queues.dead) == 2
    assert len(queues.listed("--most", "1")) == 1
    rows = [line.split() for line in queues.command("list").stdout.splitlines()[1:]]
    assert {(row[0], row[1], row[4], " ".join(row[7:])) for row in rows} == {
        (moved, str(message), "00h00m", "received too often"),
        (aside, "-", "00h00m", "field 'id' is missing"),
    }


def test_letters_go_back_as_they_were_with_their_group(queues: Queues, database_url: str) -> None:
    moved, aside, third = new_id(), new_id(), new_id()
    queues.give_up(job(moved))
    queues.set_aside(job(aside))
    name = queues.set_aside("no job")
    queues.set_aside(job(third))
    said = queues.command("redrive", str(aside), name)
    assert (said.returncode, said.stdout) == (0, "2 dead letters are on the delivery queue again.\n")
    assert queues.taken() == sorted([(job(aside), str(ACCOUNT)), ("no job", None)], key=str)
    assert {each["message"] for each in queues.listed()} == {str(moved), str(third)}
    assert queues.command("redrive", "--all").stdout == "2 dead letters are on the delivery queue again.\n"
    assert queues.taken() == sorted([(job(moved), str(ACCOUNT)), (job(third), str(ACCOUNT))], key=str)
    assert queues.listed() == []
    assert {row[1:] for row in noted(database_url)} == {
        ("deadletter.redrive", subject, account)
        for subject, account in ((str(moved), ACCOUNT), (str(aside), ACCOUNT), (name, None), (str(third), ACCOUNT))
    }
    assert queues.command("redrive", "--all").stdout == "0 dead letters are on the delivery queue again.\n"


def test_more_than_a_batch_goes_back_and_what_comes_back_meanwhile_is_left(queues: Queues) -> None:
    ids = [new_id() for _ in range(23)]
    for each in ids:
        queues.set_aside(job(each))
    # As if the worker had set one aside again while the others were brought back.
    queues.set_aside(job(ids[0]))
    assert queues.command("redrive", "--all").stdout == (
        "23 dead letters are on the delivery queue again."
        " 1 of them came back meanwhile; `deadletters list` shows why.\n"
    )
    assert [text for text, _ in queues.taken()] == sorted(job(each) for each in ids)
    assert [each["message"] for each in queues.listed()] == [str(ids[0])]


def test_a_letter_is_dropped_and_the_others_stay(queues: Queues, database_url: str) -> None:
    message, other = new_id(), new_id()
    name = queues.set_aside(job(message))
    queues.set_aside(job(other))
    unreadable = queues.set_aside("no job")
    dropped = queues.command("drop", str(message))
    assert (dropped.returncode, dropped.stdout) == (0, f"Dead letter {name}, message {message}, is deleted.\n")
    assert queues.command("drop", unreadable).returncode == 0
    assert [each["message"] for each in queues.listed()] == [str(other)]
    assert queues.taken() == []
    assert noted(database_url) == [
        ("operator command", "deadletter.drop", str(message), ACCOUNT),
        ("operator command", "deadletter.drop", unreadable, None),
    ]


def noted(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT actor, action, subject, account_id FROM audit_log ORDER BY id").fetchall()


def test_nothing_is_done_that_cannot_be_noted(queues: Queues) -> None:
    message = new_id()
    queues.set_aside(job(message))
    away = {"DATABASE_URL": f"postgresql://web@127.0.0.1:{free_port()}/none", "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "1"}
    for words in (("drop", str(message)), ("redrive", "--all")):
        said = queues.command(*words, **away)
        assert (said.returncode, said.stderr.partition(":")[0], "PostgreSQL" in said.stderr) == (69, "error", True)
    assert (len(json.loads(queues.command("list", "--json", **away).stdout)), queues.taken()) == (1, [])


def test_a_letter_that_is_not_there_is_named(queues: Queues) -> None:
    message, nobody = new_id(), new_id()
    queues.set_aside(job(message))
    gone = queues.command("drop", str(nobody))
    assert (gone.returncode, gone.stderr) == (
        1,
        f"error: there is no dead letter {nobody}; `deadletters list` shows those there are\n",
    )
    partly = queues.command("redrive", str(nobody), str(message))
    assert (partly.returncode, partly.stderr) == (
        1,
        f"error: 1 brought back, but there is no dead letter {nobody}; `deadletters list` shows those there are\n",
    )
    assert queues.taken() == [(job(message), str(ACCOUNT))]


def test_what_cannot_be_sent_stays_a_dead_letter(queues: Queues, run: Run, aws_url: str) -> None:
    message = new_id()
    queues.set_aside(job(message))
    nowhere = queues.delivery + "-none"
    failed = run(
        *("deadletters", "redrive", "--all"),
        QUEUE_URL=nowhere,
        DEAD_LETTER_QUEUE_URL=queues.dead,
        AWS_ENDPOINT_URL=aws_url,
    )
    assert failed.returncode == 69
    assert failed.stderr.startswith("error: SQS send_message: ")
    assert [each["message"] for each in queues.listed()] == [str(message)]


@pytest.mark.parametrize("key", ["QUEUE_URL", "DEAD_LETTER_QUEUE_URL"])
def test_a_missing_queue_is_named_by_its_key(run: Run, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.delenv("QUEUE_URL", raising=False)
    monkeypatch.delenv("DEAD_LETTER_QUEUE_URL", raising=False)
    other = {"QUEUE_URL", "DEAD_LETTER_QUEUE_URL"} - {key}
    said = run("deadletters", "list", **dict.fromkeys(other, "http://127.0.0.1:9/1/q"))
    assert (said.returncode, said.stderr) == (78, f"error: {key}: Field required\n")


def test_ids_or_all_must_be_named(run: Run) -> None:
    for words in ((), ("x", "--all")):
        said = run("deadletters", "redrive", *words)
        assert (said.returncode, said.stderr) == (2, "error: deadletters redrive: give ids, or --all\n")
