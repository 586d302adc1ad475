"""`python -m relay` from outside: real PostgreSQL, AWS APIs, signals and exit codes."""

import json
import os
import signal
import smtplib
import uuid

import boto3
import pytest

from mail.job import StoredBody, decode
from tests.conftest import REGION, free_port
from tests.relay.house import SECRET, USER, Files
from tests.relay.process import HTTP, message, running, start
from tests.waiting import wait_until


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
    slow = environment | {"RELAY_GRACE_SECONDS": "60", "RELAY_DRAIN_SECONDS": "55"}
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
