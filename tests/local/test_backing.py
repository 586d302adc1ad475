import asyncio
import configparser
import json
import os
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL
from typing import Any

import boto3
import psycopg
import pytest

from local import mailbox, postgres, settings, stack
from local.arguments import BACKING, Options
from local.health import Postgres, ask
from local.places import Places
from local.ports import is_free, reserve
from local.state import Stack
from tests.conftest import IN_CI
from tests.local.conftest import is_root, pids
from tests.sockets import listeners

pytestmark = pytest.mark.timeout(120)
# In this name space the user is "nobody" to every program, while files stay readable that only root may read.
ORDINARY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    return Options(state=tmp_path, only=BACKING, free_ports=True, fast=True)


@pytest.fixture(scope="module")
def backing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("backing")
    with stack.running(Options(state=state, only=BACKING, free_ports=True, fast=True, check_seconds=0.2)) as running:
        yield running


def session(running: Stack) -> boto3.Session:
    credentials = configparser.ConfigParser()
    credentials.read(running.environment["AWS_SHARED_CREDENTIALS_FILE"])
    return boto3.Session(
        aws_access_key_id=credentials["default"]["aws_access_key_id"],
        aws_secret_access_key=credentials["default"]["aws_secret_access_key"],
        region_name=running.environment["AWS_REGION"],
    )


def client(running: Stack, service: str) -> Any:
    made: Any = session(running)
    return made.client(service, endpoint_url=running.environment["AWS_ENDPOINT_URL"])


def connect(running: Stack) -> "psycopg.Connection[tuple[Any, ...]]":
    return psycopg.connect(running.environment["DATABASE_URL"], passfile=running.environment["PGPASSFILE"])


def secret_key(running: Stack) -> str:
    value = client(running, "secretsmanager").get_secret_value(SecretId=running.environment["CREDENTIAL_KEY_SECRET"])
    return str(value["SecretString"])


@pytest.mark.requirement("SC-1.2", "SC-2.3")
def test_a_second_start_keeps_data_certificates_and_keys(options: Options) -> None:
    durable = replace(options, fast=False, only=("postgres", "provisioning", "sink", "certificates"))
    with stack.running(durable) as first:
        with connect(first) as database:
            database.execute("CREATE TABLE kept (what text)")
            database.execute("INSERT INTO kept VALUES ('row')")
        client(first, "sqs").send_message(QueueUrl=first.environment["QUEUE_URL"], MessageBody="job")
        bucket = first.environment["BODY_BUCKET"]
        client(first, "s3").put_object(Bucket=bucket, Key="body", Body=b"object")
        key = secret_key(first)
        sealed = client(first, "kms").encrypt(KeyId=first.environment["PROVIDER_KEY"], Plaintext=b"provider")
        with smtplib.SMTP("127.0.0.1", first.ports["sink"]) as smtp:
            smtp.sendmail("a@b.co", ["c@d.co"], "mail")
        certificate = (options.state / "certs/server.pem").read_bytes()
    with stack.running(durable) as second:
        assert second.ports == first.ports
        with connect(second) as database:
            assert database.execute("SELECT what FROM kept").fetchall() == [("row",)]
        received = client(second, "sqs").receive_message(QueueUrl=second.environment["QUEUE_URL"])
        assert [message["Body"] for message in received["Messages"]] == ["job"]
        assert client(second, "s3").get_object(Bucket=bucket, Key="body")["Body"].read() == b"object"
        assert secret_key(second) == key
        assert client(second, "kms").decrypt(CiphertextBlob=sealed["CiphertextBlob"])["Plaintext"] == b"provider"
        assert [mail.content for mail in mailbox.received(second.mail)] == [b"mail\r\n"]
        assert (options.state / "certs/server.pem").read_bytes() == certificate


@pytest.mark.requirement("LOCAL-004", "LOCAL-007", "LOCAL-008", "SC-1.3")
def test_each_part_starts_after_what_it_needs_is_ready(backing: Stack) -> None:
    order = [("initdb", "postgres"), ("postgres", "migrations"), ("aws", "provisioning")]
    for need, part in order:
        ready, started = backing.parts[need].ready_at, backing.parts[part].started_at
        assert ready
        assert started
        assert ready <= started, f"{part} did not wait for {need}"


@pytest.mark.requirement("LOCAL-009")
def test_everything_listens_on_loopback_only(backing: Stack) -> None:
    listening = {line for pid in pids(backing) for line in listeners(pid)}
    assert {port for _, port in listening} == {backing.ports[name] for name in ("postgres", "valkey", "aws", "sink")}
    assert {address for address, _ in listening} == {"0100007F"}


def test_the_database_wants_a_password(backing: Stack) -> None:
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(backing.environment["DATABASE_URL"], passfile="/dev/null")
    with connect(backing) as database:
        [(scheme,)] = database.execute("SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = current_user")
    assert scheme == "SCRAM-SHA-256"


def test_secrets_lie_where_only_their_owner_reads(backing: Stack) -> None:
    folder = backing.state_dir / "secrets"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
        "pgpass": 0o600,
        "aws-credentials": 0o600,
        "credential-key": 0o600,
    }
    told = (backing.state_dir / "stack.json").read_text()
    for file in folder.iterdir():
        assert file.read_text().split()[-1].rpartition(":")[2] not in told


def test_dead_letters_are_kept_apart_after_five_receipts(backing: Stack) -> None:
    sqs = client(backing, "sqs")
    queue = sqs.get_queue_attributes(QueueUrl=backing.environment["QUEUE_URL"], AttributeNames=["RedrivePolicy"])
    assert '"maxReceiveCount": 5' in queue["Attributes"]["RedrivePolicy"]
    assert "smtp-proxy-delivery-dlq" in queue["Attributes"]["RedrivePolicy"]


def test_the_operators_command_finds_them(backing: Stack) -> None:
    queue = backing.environment["DEAD_LETTER_QUEUE_URL"]
    client(backing, "sqs").send_message(QueueUrl=queue, MessageBody="no job")
    words = ("admin", "--state", str(backing.state_dir), "deadletters", "list", "--json")
    shown = subprocess.run(
        [sys.executable, "-m", "local", *words], cwd=settings.ROOT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert [letter["reason"] for letter in json.loads(shown.stdout)] == ["received too often"]


@pytest.mark.requirement("LOCAL-005")
def test_a_killed_emulator_comes_back_with_keys_and_queues(backing: Stack) -> None:
    key = secret_key(backing)
    before = stack.describe(backing.state_dir).parts["aws"]
    assert before.pid
    os.kill(before.pid, SIGKILL)
    stack.wait_for(
        backing.state_dir,
        lambda now: now.parts["aws"].state == "healthy" and now.parts["aws"].restarts > before.restarts,
    )
    assert secret_key(backing) == key
    client(backing, "sqs").send_message(QueueUrl=backing.environment["QUEUE_URL"], MessageBody="job")


@pytest.mark.requirement("LOCAL-005")
def test_a_killed_database_comes_back(backing: Stack) -> None:
    before = stack.describe(backing.state_dir).parts["postgres"]
    assert before.pid
    os.kill(before.pid, SIGKILL)
    stack.wait_for(
        backing.state_dir,
        lambda now: now.parts["postgres"].state == "healthy" and now.parts["postgres"].restarts > before.restarts,
    )
    with connect(backing) as database:
        assert database.execute("SELECT 1").fetchall() == [(1,)]


@pytest.mark.requirement("LOCAL-001")
@pytest.mark.skipif(not postgres.namespaces_work() and not IN_CI, reason="user namespaces are not allowed here")
@pytest.mark.skipif(not is_root(), reason="an ordinary user runs all the other tests already")
def test_an_ordinary_user_can_run_it(options: Options) -> None:
    backing_only = replace(options, only=("postgres", "valkey"))
    command = [*ORDINARY, settings.python(), "-m", "local", "up", *backing_only.command_line()]
    with subprocess.Popen(command, cwd=settings.ROOT, stdout=subprocess.DEVNULL) as supervisor:
        try:
            running = stack.await_ready(supervisor, options.state)
            with connect(running) as database:
                assert database.execute("SELECT 1").fetchall() == [(1,)]
        finally:
            supervisor.terminate()


@pytest.mark.skipif(not is_root(), reason="only root must become somebody else")
def test_root_without_user_namespaces_runs_postgresql_as_nobody(tmp_path: Path) -> None:
    places = Places(tmp_path)
    places.create()
    cluster = postgres.cluster(places, {}, is_root=True, namespaces=False)
    try:
        postgres.prepare(places, cluster, fast=True)
        block = reserve()
        block.guard.close()
        port = block.ports[0]
        assert is_free(port)
        with subprocess.Popen(cluster.server(port, fast=True), cwd="/", stderr=subprocess.DEVNULL) as server:
            try:
                probe = Postgres(port, postgres.USER, postgres.DATABASE)
                while (wrong := asyncio.run(ask(probe))) and server.poll() is None:
                    continue
                assert wrong is None
                assert Path(f"/proc/{server.pid}").stat().st_uid == postgres.NOBODY
            finally:
                server.send_signal(2)
    finally:
        postgres.remove_copy(cluster)


def test_a_missing_database_binary_is_said_plainly(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    with pytest.raises(postgres.NoPostgres, match="SMTP_PROXY_PG_BIN"):
        postgres.find_binaries({settings.PG_BIN: str(folder)}, system=tmp_path)


def test_the_env_file_may_name_other_binaries(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("postgres", "initdb"):
        (folder / name).touch()
    (tmp_path / ".env").write_text(f"{settings.PG_BIN}={folder}\n")
    assert postgres.here(Places(tmp_path)).binaries == folder
