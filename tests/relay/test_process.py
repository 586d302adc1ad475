"""`python -m relay` from outside: real PostgreSQL, AWS APIs, signals and exit codes."""

import base64
import json
import os
import secrets
import signal
import smtplib
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

import boto3
import psycopg
import pytest

from mail.accounts import secret_digest
from mail.job import StoredBody, decode
from tests.conftest import REGION, free_port
from tests.relay.house import SECRET, USER, Files
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
PASSED_ON = ("AWS_", "PG", "PATH", "HOME")
KEY = secrets.token_bytes(32)


@dataclass
class Process:
    """A relay in a process of its own."""

    child: subprocess.Popen[str]
    starttls: int
    tls: int
    health: str

    def ready(self) -> int:
        try:
            with HTTP.open(f"{self.health}/readyz", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """End it as ECS does; its exit code and what it logged."""
        self.child.send_signal(signal.SIGTERM)
        output, _ = self.child.communicate(timeout=20)
        return self.child.returncode, [json.loads(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def aws(moto_url: str) -> dict[str, str]:
    """A queue, a bucket and the credential key."""
    queue = boto3.client("sqs", endpoint_url=moto_url, region_name=REGION)
    url = queue.create_queue(QueueName=f"jobs-{uuid.uuid1()}")["QueueUrl"]
    bucket = f"bodies-{uuid.uuid1()}"
    boto3.client("s3", endpoint_url=moto_url, region_name=REGION).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    name, text = f"key-{uuid.uuid1()}", base64.urlsafe_b64encode(KEY).decode()
    boto3.client("secretsmanager", endpoint_url=moto_url, region_name=REGION).create_secret(
        Name=name, SecretString=text
    )
    return {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_REGION": REGION,
        "QUEUE_URL": url,
        "BODY_BUCKET": bucket,
        "CREDENTIAL_KEY_SECRET": name,
    }


@pytest.fixture
def environment(aws: dict[str, str], files: Files) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}  # noqa: TID251
    own = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none",
        "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "0.5",
        "RELAY_HOST": "127.0.0.1",
        "RELAY_STARTTLS_PORT": str(free_port()),
        "RELAY_TLS_PORT": str(free_port()),
        "RELAY_CERTIFICATE_FILE": str(files.certificate),
        "RELAY_PRIVATE_KEY_FILE": str(files.key),
        "RELAY_GRACE_SECONDS": "0.2",
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": str(free_port()),
    }
    return inherited | aws | own


def start(environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relay"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def running(environment: dict[str, str]) -> Iterator[Process]:
    child = start(environment)
    process = Process(
        child,
        int(environment["RELAY_STARTTLS_PORT"]),
        int(environment["RELAY_TLS_PORT"]),
        f"http://127.0.0.1:{environment['HEALTH_PORT']}",
    )
    try:
        wait_until(lambda: process.ready() == 200 or child.poll() is not None, 30, "the relay did not get ready")
        assert child.poll() is None, child.communicate()
        yield process
    finally:
        child.kill()
        child.communicate()


@pytest.fixture
def with_account(environment: dict[str, str], database_url: str) -> dict[str, str]:
    """The environment with a database that has one account."""
    account = uuid.uuid1()
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO account (id, name, allowed_domains, on_unknown) VALUES (%s, 'shop', %s, 'hold')",
            (account, ["example.com"]),
        )
        connection.execute(
            "INSERT INTO credential (id, account_id, username, digest) VALUES (%s, %s, %s, %s)",
            (uuid.uuid1(), account, USER, secret_digest(KEY, USER, SECRET)),
        )
    return environment | {"DATABASE_URL": database_url, "DATABASE_ACQUIRE_TIMEOUT_SECONDS": "5"}


def message(size: int = 100) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "me@example.com", "you@example.net", "Hello"
    mail["Message-ID"] = f"<{uuid.uuid1()}@example.com>"
    mail.set_content(("x" * 70 + "\n") * (size // 71 + 1))
    return mail


@pytest.mark.requirement("CORE-SMTP-001")
@pytest.mark.requirement("CORE-SMTP-004")
@pytest.mark.requirement("CORE-SMTP-009")
@pytest.mark.requirement("TLS-002")
def test_mail_comes_in_on_both_ports_and_the_relay_leaves_in_order(
    with_account: dict[str, str], aws: dict[str, str], files: Files
) -> None:
    small, large = message(), message(900_000)
    with running(with_account) as process:
        with smtplib.SMTP("localhost", process.starttls, timeout=10) as client:
            client.starttls(context=files.trust())
            client.login(USER, SECRET)
            assert client.send_message(small) == {}
        with smtplib.SMTP_SSL("localhost", process.tls, timeout=10, context=files.trust()) as client:
            client.login(USER, SECRET)
            assert client.send_message(large) == {}
            with pytest.raises(smtplib.SMTPSenderRefused, match="may not send from"):
                client.sendmail("me@example.org", ["you@example.net"], b"Subject: no\r\n\r\n")
        with HTTP.open(f"{process.health}/metrics", timeout=5) as answer:
            assert 'relay_messages_total{result="accepted"} 2.0' in answer.read().decode()
        code, lines = process.stop()
    assert code == 0
    assert [line["accepted"] for line in lines if line["event"] == "stopped"] == [2]
    assert SECRET not in json.dumps(lines)

    queue = boto3.client("sqs", endpoint_url=aws["AWS_ENDPOINT_URL"], region_name=REGION)
    received = queue.receive_message(QueueUrl=aws["QUEUE_URL"], MaxNumberOfMessages=10)["Messages"]
    jobs = {job.header_message_id: job for job in (decode(entry["Body"]) for entry in received)}
    assert set(jobs) == {small["Message-ID"], large["Message-ID"]}
    stored = jobs[large["Message-ID"]].body
    assert isinstance(stored, StoredBody)
    bodies = boto3.client("s3", endpoint_url=aws["AWS_ENDPOINT_URL"], region_name=REGION)
    assert len(bodies.get_object(Bucket=stored.bucket, Key=stored.key)["Body"].read()) > 900_000


def test_it_serves_without_postgresql_and_blames_no_password(environment: dict[str, str], files: Files) -> None:
    with running(environment) as process:
        with smtplib.SMTP_SSL("localhost", process.tls, timeout=10, context=files.trust()) as client:
            with pytest.raises(smtplib.SMTPAuthenticationError) as refusal:
                client.login(USER, SECRET)
            assert refusal.value.smtp_code == 454
        code, _ = process.stop()
    assert code == 0


def test_a_second_signal_ends_it_at_once(environment: dict[str, str], files: Files) -> None:
    slow = environment | {"RELAY_GRACE_SECONDS": "60", "RELAY_DRAIN_SECONDS": "60"}
    with running(slow) as process, smtplib.SMTP_SSL("localhost", process.tls, context=files.trust()) as client:
        process.child.send_signal(signal.SIGTERM)
        wait_until(lambda: process.ready() == 503, 5, "still ready after SIGTERM")
        client.noop()
        code, _ = process.stop()
        assert code == 0
        assert client.docmd("NOOP")[0] == 421


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"QUEUE_URL": None}, "QUEUE_URL: Field required\n"),
        ({"RELAY_MAX_CONNECTIONS": "0"}, "RELAY_MAX_CONNECTIONS: Input should be greater than or equal to 1\n"),
        ({"RELAY_CERTIFICATE_FILE": "/none"}, "RELAY_CERTIFICATE_FILE: /none cannot be read: No such file"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_starts(
    environment: dict[str, str], changes: dict[str, str | None], complaint: str
) -> None:
    merged: dict[str, str | None] = {**environment, **changes}
    child = start({name: value for name, value in merged.items() if value is not None})
    output, errors = child.communicate(timeout=20)
    assert (child.returncode, output) == (os.EX_CONFIG, "")
    assert errors.startswith(complaint), errors


def test_a_key_that_is_no_key_is_named(environment: dict[str, str], moto_url: str) -> None:
    secrets_manager = boto3.client("secretsmanager", endpoint_url=moto_url, region_name=REGION)
    name = f"short-{uuid.uuid1()}"
    secrets_manager.create_secret(Name=name, SecretString="c2hvcnQ")
    child = start(environment | {"CREDENTIAL_KEY_SECRET": name})
    _, errors = child.communicate(timeout=20)
    assert child.returncode == os.EX_CONFIG
    assert errors == f"secret {name} has 5 octets; a key has 32 or more\n"


def test_a_port_in_use_is_said(environment: dict[str, str]) -> None:
    with running(environment) as process:
        child = start(environment | {"HEALTH_PORT": str(free_port())})
        _, errors = child.communicate(timeout=20)
        assert child.returncode == os.EX_UNAVAILABLE
        assert "address already in use" in errors.lower()
        assert process.ready() == 200
