"""What goes wrong with a renewal, what is told of it, and what the next run makes of that."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from backing.aws import Aws
from backing.certificates.ledger import Busy, TableLedger
from backing.ids import now
from tests.conftest import REGION, ROOT
from tests.worker.certificates.between import Answer, Between, problem
from tests.worker.certificates.conftest import MakeDesk
from tests.worker.certificates.desk import Desk
from tests.worker.certificates.pebble import Pebble
from tests.worker.certificates.zone import Zone
from worker.certificates.settings import CertificateSettings

FAILURES, IN_A_ROW = "certificate_renewal_failures_total", "certificate_renewal_failures_in_a_row"
NO_NAME = "is not a host name such as smtp.example.com or *.example.com"


@pytest.mark.requirement("SC-5.3")
@pytest.mark.requirement("TLS-006")
def test_a_server_that_is_away_is_tried_again_and_alarms(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "away.example.com")
    gone = {"ACME_DIRECTORY_URL": "https://127.0.0.1:1/dir"}
    said = desk.run("renew", RENEWAL_WAIT_SECONDS="[0.01, 0.02, 0.03, 0.04]", **gone)
    assert (said.code, said.result[0]) == (69, "failed")
    failed = said.logged("certificate not renewed")
    assert [line["again_in_seconds"] for line in failed] == [0.01, 0.02, 0.03, 0.04, None]
    assert all("ACME server: ConnectionError" in line["reason"] for line in failed)
    # Each is told at once, so that the alarm does not wait for the end of the run.
    assert said.counted(FAILURES) == [1, 1, 1, 1, 1]
    assert said.counted(IN_A_ROW)[:5] == [1, 2, 3, 4, 5]
    assert CertificateSettings.model_fields["renewal_wait_seconds"].default == (30, 60, 120, 300)
    assert desk.run("renew", **gone).counted(IN_A_ROW)[0] == 6
    assert "6 in a row" in desk.run("status").out
    said = desk.run("renew")
    assert said.result == ("renewed", "renewed")
    assert said.counted(IN_A_ROW)[-1] == 0
    assert desk.memory()["failures"] == 0


def test_a_run_that_is_told_to_stop_lets_go(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "stop.example.com")
    kept = {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "PATH", "HOME", "COV"))}  # noqa: TID251
    gone = {"ACME_DIRECTORY_URL": "https://127.0.0.1:1/dir", "RENEWAL_WAIT_SECONDS": "[60]"}
    command = [sys.executable, "-m", "worker.certificates", "renew"]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=kept | desk.environment | gone,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout
        for line in child.stdout:
            if "certificate not renewed" in line:
                break
        assert float(desk.item()["until"]) > now().timestamp()
        child.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=20)
    assert (child.returncode, errors) == (75, "told to stop\n")
    assert float(desk.item()["until"]) <= now().timestamp()
    assert desk.memory()["failures"] == 1


@pytest.mark.requirement("EC-5")
def test_a_rate_limit_is_obeyed_by_later_runs(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "limited.example.com")
    assert desk.run("renew").code == 0
    old = desk.kept()
    limit = problem(429, "rateLimited", "too many certificates already issued", Retry_After="7200")
    front.answer = lambda asked: limit if "order-plz" in asked else None
    said = desk.run("issue", RENEWAL_WAIT_SECONDS="[0.01, 0.02]")
    assert (said.code, said.result) == (75, ("waiting", "rateLimited: too many certificates already issued"))
    assert said.counted("certificate_rate_limits_total") == [1]
    front.answer = lambda _: None
    placed = front.orders()
    for command in ("renew", "issue"):
        desk.environment["CERTIFICATE_NAMES"] = "limited.example.com,more.example.com"
        said = desk.run(command)
        assert (said.code, said.result[0]) == (75, "waiting")
    assert front.orders() == placed == 2
    until = datetime.fromtimestamp(desk.memory()["not_before"], UTC)
    assert abs(until - datetime.now(UTC) - timedelta(hours=2)) < timedelta(minutes=1)
    assert desk.kept() == old
    assert "held back" in desk.run("status").out
    remember(desk, not_before=0)
    assert desk.run("renew").result == ("renewed", "renewed")


def remember(desk: Desk, **facts: object) -> None:
    """Change what the last run left."""
    item = desk.item()
    memory = {**json.loads(item["memory"]), **facts}
    desk.client("dynamodb").update_item(
        TableName=desk.environment["LOCK_TABLE"],
        Key={"id": {"S": item["id"]}},
        UpdateExpression="SET memory = :m",
        ExpressionAttributeValues={":m": {"S": json.dumps(memory)}},
    )


@pytest.mark.parametrize(
    "answer",
    [
        problem(429, "rateLimited", "slowly", Retry_After="1"),
        problem(503, "serverInternal", "busy", Retry_After="1"),
        Answer(503, "<p>busy</p>", {"Content-Type": "text/html", "Retry-After": "1"}),
    ],
    ids=["limited", "busy", "a page"],
)
def test_a_short_wait_is_waited_for_in_the_run(make_desk: MakeDesk, front: Between, answer: Answer) -> None:
    desk = make_desk(front.acme, "short.example.com")
    once = [answer]
    front.answer = lambda asked: once.pop() if "order-plz" in asked and once else None
    said = desk.run("renew", RENEWAL_WAIT_SECONDS="[0.01, 1]")
    assert said.result == ("renewed", "renewed")
    (failed,) = said.logged("certificate not renewed")
    assert failed["again_in_seconds"] == 1


def test_a_challenge_that_is_refused_is_tried_three_times(make_desk: MakeDesk, front: Between, zone: Zone) -> None:
    zone.lies["_acme-challenge.refused.example.com"] = "not what is asked for"
    desk = make_desk(front.acme, "refused.example.com")

    def untouched(asked: str, body: Any) -> Any:
        """Say of another challenge, too, of which there is nothing to say: servers may (RFC 8555, 7.1.4)."""
        if asked.startswith("POST /authZ") and body["status"] == "invalid":
            other = {"type": "http-01", "url": f"{front.acme.directory}/c", "token": "A" * 43, "status": "pending"}
            return {**body, "challenges": [other, *body["challenges"]]}
        return body

    front.amend = untouched
    said = desk.run("renew", RENEWAL_WAIT_SECONDS="[0.01, 0.01, 0.01, 0.01]")
    assert (said.code, said.result[0]) == (69, "failed")
    assert said.result[1].startswith("refused.example.com: unauthorized: ")
    assert (said.counted(FAILURES), front.orders()) == ([1, 1, 1], 3)
    assert zone.texts() == {}
    del zone.lies["_acme-challenge.refused.example.com"]
    assert desk.run("renew").result == ("renewed", "renewed")


def test_a_certificate_that_cannot_be_stored_is_not_ordered_again(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "store.example.com")
    said = desk.run("renew", CERTIFICATE_SECRET="there-is-none", RENEWAL_WAIT_SECONDS="[0.01, 0.01]")
    assert (said.code, said.result[0]) == (69, "failed")
    assert "Secrets Manager PutSecretValue there-is-none" in said.result[1]
    assert (said.counted(FAILURES), front.orders()) == ([1, 1, 1], 1)
    # Nor for ever: the server would issue no more than five in a week.
    moment = datetime.now(UTC).timestamp()
    remember(desk, issued=[moment - days * 86_400 for days in (6.5, 3, 2, 1)])
    said = desk.run("renew")
    assert (said.code, said.result[0], front.orders()) == (75, "waiting", 1)
    assert said.result[1].endswith("4 certificates were issued in the last 7 days")
    assert desk.run("issue").result == ("renewed", "renewed")
    assert len(desk.memory()["issued"]) == 5


def take(desk: Desk, times: int, clock: Callable[[], datetime] = now) -> list[str]:
    """Have several runs take the lock at once; what each found."""

    async def all_at_once() -> list[str]:
        async with Aws(REGION).dynamodb() as client:
            key = f"lock#acme#{desk.names[0]}"
            ledgers = [TableLedger(client, desk.environment["LOCK_TABLE"], key, clock) for _ in range(times)]
            found = await asyncio.gather(*(ledger.take() for ledger in ledgers), return_exceptions=True)
            return sorted("busy" if isinstance(one, Busy) else str(one) for one in found)

    desk.set_variable("AWS_ENDPOINT_URL", desk.moto_url)
    return asyncio.run(all_at_once())


def test_one_run_at_a_time(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "alone.example.com")
    assert take(desk, 5) == ["", "busy", "busy", "busy", "busy"]
    said = desk.run("renew")
    assert (said.code, said.result[0], front.orders()) == (75, "busy", 0)
    assert "another run holds lock#acme#alone.example.com until " in said.result[1]
    assert take(desk, 1) == ["busy"]


def test_a_run_that_died_is_taken_over(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "dead.example.com")
    assert take(desk, 1, lambda: now() - timedelta(hours=1)) == [""]
    assert desk.run("renew").result == ("renewed", "renewed")
    item = desk.item()
    assert float(item["until"]) <= now().timestamp()
    # The table forgets what nobody asks for.
    assert abs(int(item["expires"]) - now().timestamp() - 90 * 86_400) < 60


@pytest.mark.parametrize(
    ("changes", "complaints"),
    [
        ({"CERTIFICATE_SECRET": ""}, ["CERTIFICATE_SECRET, CERTIFICATE_FOLDER: name one of both"]),
        (
            {"LOCK_TABLE": "", "ACME_ACCOUNT_SECRET": ""},
            ["ACME_ACCOUNT_SECRET: needed with CERTIFICATE_SECRET", "LOCK_TABLE: needed with CERTIFICATE_SECRET"],
        ),
        (
            {"DNS_SERVERS": "dns.example"},
            ["DNS_SERVERS: Value error, 'dns.example' is not an address such as 192.0.2.1 or [2001:db8::1]:5300"],
        ),
        ({"DNS_ZONE_ID": ""}, ["DNS_ZONE_ID: needed for ACME_CHALLENGE=dns-01"]),
        (
            {"ACME_CHALLENGE": "http-01", "CERTIFICATE_NAMES": "*.example.com"},
            ["CACHE_URL: needed for ACME_CHALLENGE=http-01", "ACME_CHALLENGE: http-01 proves no wildcard; use dns-01"],
        ),
        (
            {"CERTIFICATE_NAMES": "smtp.example.com, -x.example.com"},
            [f"CERTIFICATE_NAMES: Value error, '-x.example.com' {NO_NAME}"],
        ),
    ],
)
def test_wrong_settings_are_named(
    make_desk: MakeDesk, acme: Pebble, changes: dict[str, str], complaints: list[str]
) -> None:
    said = make_desk(acme, "smtp.example.com").run("renew", **changes)
    assert (said.code, said.out, said.err.splitlines()) == (78, "", complaints)


def test_accounts_that_are_none_are_said(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "account.example.com")
    secret = desk.environment["ACME_ACCOUNT_SECRET"]
    for text, words in (("no JSON", "is no JSON"), ("[]", "is no JSON object")):
        desk.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)
        said = desk.run("renew")
        assert (said.code, said.result) == (69, ("failed", f"the text of ACME accounts {words}"))
    desk.write_account({"uri": "https://127.0.0.1:1/gone"})
    said = desk.run("renew")
    assert said.result == ("failed", "the text of ACME accounts lacks `key` or `uri`")
    assert desk.run("roll-account-key").err == "the text of ACME accounts lacks `key` or `uri`\n"


def test_a_binding_that_is_none_is_said(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "bind.example.com")
    secret = desk.environment["ACME_ACCOUNT_SECRET"]
    desk.client("secretsmanager").put_secret_value(SecretId=secret, SecretString='{"eab": {"kid": "one"}}')
    assert desk.run("renew").result[1] == "`eab` in the text of ACME accounts lacks `kid` or `hmac_key`"


def test_what_the_server_says_is_passed_on(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "words.example.com")
    parts = [{"type": "urn:ietf:params:acme:error:caa", "detail": "forbidden"}]
    refusal = problem(403, "rejectedIdentifier", "no")
    front.answer = lambda asked: Answer(403, {**refusal.body, "subproblems": parts}) if "order-plz" in asked else None  # type: ignore[dict-item]
    said = desk.run("renew", RENEWAL_WAIT_SECONDS="[0.01, 0.01, 0.01]")
    assert said.result == ("failed", "rejectedIdentifier: no; caa: forbidden")
    assert front.orders() == 3
    for answer, words in (
        (problem(500, "serverInternal", "sorry"), "ACME server: serverInternal: sorry"),
        (Answer(502, "<p>gone</p>", {"Content-Type": "text/html"}), "ACME server: answered 502 Bad Gateway"),
        (problem(400, "badNonce", "old"), "ACME server: badNonce: old"),
        (problem(409, "conflict", "x", Location="https://acme.example/1"), "conflict with https://acme.example/1"),
    ):
        front.answer = lambda asked, answer=answer: answer if "order-plz" in asked else None  # type: ignore[misc]
        assert desk.run("renew").result == ("failed", words)
    front.answer = lambda asked: problem(500, "serverInternal", "who are you") if "sign-me-up" in asked else None
    assert desk.run("renew").result == ("failed", "ACME server: serverInternal: who are you")
    front.answer = lambda asked: Answer(200, "no JSON", {}) if "sign-me-up" in asked else None
    assert desk.run("renew").result[0] == "failed"
    for text in ("[]", "{}", "5"):
        nonsense = Answer(200, text, {"Content-Type": "application/json"})
        front.answer = lambda asked, answer=nonsense: answer if asked == "GET /dir" else None  # type: ignore[misc]
        assert desk.run("renew").result[0] == "failed"


def test_an_order_that_comes_to_nothing(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "nothing.example.com")
    error = {"type": "urn:ietf:params:acme:error:badCSR", "detail": "weak key"}

    def amend(asked: str, body: Any) -> Any:
        if asked.startswith("POST /my-order"):
            return {**body, "status": "invalid", "error": error}
        return body

    front.amend = amend
    assert desk.run("renew").result == ("failed", "badCSR: weak key")

    def without_dns(asked: str, body: Any) -> Any:
        if asked.startswith("POST /authZ"):
            return {**body, "challenges": [one for one in body["challenges"] if one["type"] != "dns-01"]}
        return body

    front.amend = without_dns
    assert desk.run("renew").result[1] == "the ACME server offers no dns-01 for nothing.example.com"

    def without_change(asked: str, body: Any) -> Any:
        return {name: value for name, value in body.items() if name != "keyChange"} if asked == "GET /dir" else body

    front.amend = without_change
    said = desk.run("roll-account-key")
    assert (said.code, said.err) == (69, "the ACME server does not change keys\n")


def test_names_that_cannot_be_looked_up(make_desk: MakeDesk, acme: Pebble, zone: Zone) -> None:
    zone.broken.add("_acme-challenge.broken.example.com")
    said = make_desk(acme, "broken.example.com").run("renew")
    assert said.result == ("failed", "DNS _acme-challenge.broken.example.com: NoNameservers")


def test_records_that_stay_behind_are_told(make_desk: MakeDesk, front: Between, zone: Zone) -> None:
    kept, made = zone.id, zone.client.create_hosted_zone(Name="gone.test", CallerReference="gone")
    zone.id = made["HostedZone"]["Id"].removeprefix("/hostedzone/")
    desk = make_desk(front.acme, "gone.test")

    def answer(asked: str) -> Answer | None:
        if "finalize" in asked and zone.id != kept:
            gone, zone.id = zone.id, kept
            records = zone.client.list_resource_record_sets(HostedZoneId=gone)["ResourceRecordSets"]
            changes = [{"Action": "DELETE", "ResourceRecordSet": one} for one in records if one["Type"] == "TXT"]
            zone.client.change_resource_record_sets(HostedZoneId=gone, ChangeBatch={"Changes": changes})
            zone.client.delete_hosted_zone(Id=gone)
        return None

    front.answer = answer
    said = desk.run("renew")
    assert said.result == ("renewed", "renewed")
    assert said.logged("proofs left behind")


def test_parts_that_are_away_are_named(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "parts.example.com")
    said = desk.run("renew", LOCK_TABLE="there-is-none")
    assert (said.code, said.result[0]) == (69, "failed")
    assert said.result[1].startswith("DynamoDB GetItem there-is-none: ")
    assert said.counted(FAILURES) == [1]
    said = desk.run("status", LOCK_TABLE="there-is-none")
    assert said.code == 69
    assert said.err.startswith("DynamoDB GetItem there-is-none: ")
    pair = trustme.CA().issue_cert("parts.example.com")
    with pair.private_key_and_cert_chain_pem.tempfile() as both:
        assert take(desk, 1) == [""]
        said = desk.run("import", "--certificate", both, "--key", both)
        assert (said.code, said.err[:44]) == (75, "another run holds lock#acme#parts.example.co")
