"""An application sends: scenarios 3.1 to 4.2, against the running product."""

import json

import pytest

from local import evidence, tenant
from local.state import Stack
from tests.acceptance.conftest import Client
from tests.acceptance.talk import MESSAGE, OUTCOMES, STATE, ask, login, sent, server, trusting
from tests.waiting import wait_until


@pytest.mark.requirement("SC-3.1")
@pytest.mark.requirement("SC-3.2")
@pytest.mark.requirement("CLIENT-002")
@pytest.mark.requirement("TLS-002")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_without_verification_it_is_sent(stack: Stack, client: Client, tls: str) -> None:
    run = client("send", *server(stack, tls), "--insecure", *login(stack), *MESSAGE)
    assert (run.returncode, run.stderr) == (0, "")
    assert "queued as" in run.stdout


@pytest.mark.requirement("SC-3.3")
@pytest.mark.requirement("TLS-009")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_the_development_certificate_is_not_trusted_until_its_authority_is_named(
    stack: Stack, client: Client, tls: str
) -> None:
    distrusted = client("send", *server(stack, tls), *login(stack), *MESSAGE)
    assert distrusted.returncode == 4
    assert "localhost" in distrusted.stderr
    assert "--ca" in distrusted.stderr
    trusted = client("send", *server(stack, tls), "--ca", stack.ca_file, *login(stack), *MESSAGE)
    assert (trusted.returncode, trusted.stderr) == (0, "")


@pytest.mark.requirement("SC-3.4")
@pytest.mark.requirement("CORE-SMTP-001")
@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_good_credentials_are_let_in(stack: Stack, client: Client, mechanism: str) -> None:
    run = client("send", *trusting(stack), "--auth", mechanism, *MESSAGE)
    assert (run.returncode, run.stderr) == (0, "")


@pytest.mark.requirement("SC-3.5")
@pytest.mark.parametrize("user", [tenant.NAME, "nobody"])
def test_a_wrong_password_is_refused_with_535(stack: Stack, client: Client, user: str) -> None:
    wrong = ("--user", user, "--password", "wrong")
    run = client("send", *server(stack), "--ca", stack.ca_file, *wrong, *MESSAGE)
    assert run.returncode == 5
    assert "SMTP AUTH failed" in run.stderr
    assert "535 5.7.8" in run.stderr


def test_a_sender_outside_the_accounts_domains_is_refused(stack: Stack, client: Client) -> None:
    other = ("--from", "ceo@elsewhere.example", *MESSAGE[2:])
    run = client("send", *trusting(stack), *other)
    assert run.returncode == 1
    assert "550 5.7.1" in run.stderr
    assert "allowed: *.local.example, local.example" in run.stderr


@pytest.mark.requirement("SC-4.1")
@pytest.mark.requirement("CORE-SMTP-004")
@pytest.mark.requirement("CORE-SMTP-008")
def test_a_message_goes_all_the_way_in_time(stack: Stack, client: Client) -> None:
    run = client("send", *trusting(stack), *MESSAGE, "--json")
    (message,) = sent(run)
    steps = evidence.await_outcome(stack, [message["queue_id"]], 20)[message["queue_id"]]
    assert steps.state == "accepted"
    assert steps.started_at is not None
    seconds = [(at - steps.accepted_at).total_seconds() for at in (steps.queued_at, steps.claimed_at, steps.started_at)]
    assert [value < limit for value, limit in zip(seconds, (1, 5, 10), strict=True)] == [True] * 3, seconds

    (mail,) = evidence.arrived(stack)[message["queue_id"]]
    assert (mail.sha256, mail.rcpt_tos) == (message["sha256"], ("someone@example.net",))
    stored = ask(stack, "SELECT sha256, size, session FROM message WHERE id::text = %s", message["queue_id"])
    whole = mail.file.read_bytes()
    assert stored == [(bytes.fromhex(message["sha256"]), len(whole), steps.session)]

    # One correlation id leads through the session's log, the Received header, the row, and the delivery's log.
    assert f"(session {steps.session})".encode() in whole
    for door in ("relay", "worker"):
        lines = [
            json.loads(line) for line in (stack.log / f"{door}.log").read_text().splitlines() if steps.session in line
        ]
        assert lines, door
        assert {line["session"] for line in lines} == {steps.session}


@pytest.mark.requirement("SC-4.2")
@pytest.mark.requirement("CLIENT-005")
def test_a_batch_of_100_at_10_a_second_is_accepted_and_processed(stack: Stack, client: Client) -> None:
    pace = ("--count", 100, "--rate", 10)
    run = client("batch", *trusting(stack), *MESSAGE, *pace, "--json")
    messages = sent(run)
    progress = [line for line in run.stderr.splitlines() if "/100" in line or " of 100" in line]
    assert len(progress) >= 10, run.stderr
    assert 9 < json.loads(run.stdout)["summary"]["seconds"] < 20

    ids = [message["queue_id"] for message in messages]
    steps = evidence.await_outcome(stack, ids, 60)
    assert [steps[queue_id].state for queue_id in ids] == ["accepted"] * 100
    mail = evidence.arrived(stack)
    assert [[m.sha256 for m in mail[m["queue_id"]]] for m in messages] == [[m["sha256"]] for m in messages]


def test_the_same_submission_again_is_delivered_once(stack: Stack, client: Client) -> None:
    same = ("--header", "X-Idempotency-Key: order-4711")
    words = (*trusting(stack), *MESSAGE, *same, "--json")
    first, second = (sent(client("send", *words))[0]["queue_id"] for _ in range(2))
    wait_until(
        lambda: ask(stack, "SELECT 1 FROM message WHERE id::text = %s", second), 20, "the second was not claimed"
    )
    assert evidence.await_outcome(stack, [first], 20)[first].state == "accepted"
    assert ask(stack, "SELECT duplicate_of::text FROM message WHERE id::text = %s", second) == [(first,)]
    assert second not in evidence.arrived(stack)


@pytest.mark.parametrize(
    ("recipient", "state", "outcomes"),
    [
        ("tempfail-2@example.net", "accepted", ["temporary", "temporary", "accepted"]),
        ("reject@example.net", "failed", ["permanent"]),
    ],
)
def test_each_answer_of_the_provider_has_its_end(
    stack: Stack, client: Client, recipient: str, state: str, outcomes: list[str]
) -> None:
    words = ("--from", "app@local.example", "--to", recipient, "--text", "x", "--json")
    (message,) = sent(client("send", *trusting(stack), *words))
    wait_until(
        lambda: ask(stack, STATE, message["queue_id"]) == [(state, len(outcomes))],
        30,
        f"{recipient} did not become {state}",
    )
    log = ask(stack, OUTCOMES, message["queue_id"])
    assert [outcome for (outcome,) in log] == outcomes


def test_one_refused_recipient_takes_nothing_from_the_others(stack: Stack, client: Client) -> None:
    to = [word for name in ("a", "reject", "b") for word in ("--to", f"{name}@example.net")]
    words = ("--from", "app@local.example", *to, "--text", "x", "--json")
    (message,) = sent(client("send", *trusting(stack), *words))
    query = "SELECT address, state FROM recipient WHERE message_id::text = %s ORDER BY n"
    expected = [("a@example.net", "accepted"), ("reject@example.net", "failed"), ("b@example.net", "accepted")]
    wait_until(lambda: ask(stack, query, message["queue_id"]) == expected, 30, "not as expected")
    (mail,) = evidence.arrived(stack)[message["queue_id"]]
    assert mail.rcpt_tos == ("a@example.net", "b@example.net")
