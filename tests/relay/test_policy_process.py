"""An operator changes something, and two relays obey within seconds: processes, PostgreSQL, AWS APIs and Valkey."""

import base64
import json
import re
import signal
import smtplib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import boto3
import psycopg
import pytest

from tests.conftest import REGION, database, free_port
from tests.relay.conftest import open_account, surroundings
from tests.relay.house import SECRET, Files
from tests.relay.operator import Fleet, value
from tests.relay.process import message, running
from tests.valkey import valkey
from tests.waiting import wait_until

SECONDS = 5.0
ACCOUNTS = ("shop", "disabled", "revoked", "bounced", "counted", "guessed", "kept")
CERTIFIED = "Scanner.Shop.Example"


@pytest.fixture(scope="module")
def fleet(
    postgres_url: str, aws: dict[str, str], files: Files, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("fleet")
    authority, settings = folder / "ca.pem", folder / "settings.env"
    files.ca.cert_pem.write_to_path(authority)
    settings.touch()
    kms = boto3.client("kms", endpoint_url=aws["AWS_ENDPOINT_URL"], region_name=REGION)
    with ExitStack() as stack:
        url = stack.enter_context(database(postgres_url))
        with psycopg.connect(url) as connection:
            for name in ACCOUNTS:
                open_account(connection, name, f"{name}-app")
        cache = stack.enter_context(valkey(folder, free_port()))
        common = surroundings(aws, files) | {
            "DATABASE_URL": url,
            "CACHE_URL": cache.url,
            "PROVIDER_KEY": kms.create_key()["KeyMetadata"]["KeyId"],
            # What takes effect sooner does so because the relay was told.
            "RELAY_CREDENTIAL_CACHE_SECONDS": "3600",
            "RELAY_CLIENT_CA_FILE": str(authority),
            "RELAY_TLS_CLIENT_CERTIFICATES": "optional",
        }
        del common["RELAY_CONNECTIONS_PER_MINUTE"]
        settings.write_text("RELAY_CONNECTIONS_PER_MINUTE=0\n")
        ports = ("RELAY_STARTTLS_PORT", "RELAY_TLS_PORT", "HEALTH_PORT")
        own = {"SETTINGS_FILE": str(settings)}
        environments = [common | own | {name: str(free_port()) for name in ports} for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            starting = [running(environment) for environment in environments]
            relays = tuple(pool.map(stack.enter_context, starting))
        whole = Fleet(relays, common, cache, settings, files.trust())
        whole.settle()
        yield whole


def mail(client: smtplib.SMTP) -> tuple[int, str]:
    """Begin a message and take it back; the reply to MAIL."""
    code, text = client.docmd("MAIL FROM:<me@example.com>")
    if code == 250:
        client.rset()
    return code, text.decode()


def last_words(client: smtplib.SMTP, seconds: float = SECONDS) -> tuple[int, str]:
    """Begin messages until that is refused; the refusal."""
    replies = [mail(client)]

    def refused() -> bool:
        replies.append(mail(client))
        return replies[-1][0] != 250

    if replies[0][0] == 250:
        wait_until(refused, seconds, "it still sends")
    return replies[-1]


def refusal(fleet: Fleet, number: int, username: str, secret: str = SECRET) -> str:
    """What a relay says to a sign-in that it refuses."""
    with fleet.client(number) as client:
        with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
            client.login(username, secret)
        reply = refused.value
    return f"{reply.smtp_code} {bytes(reply.smtp_error).decode()}"  # type: ignore[arg-type]  # smtplib gives octets here


@pytest.mark.requirement("CORE-SMTP-001")
@pytest.mark.parametrize("words", [("account", "disable", "disabled"), ("credential", "revoke", "revoked-app")])
def test_who_may_send_no_more_is_stopped_within_seconds(fleet: Fleet, words: tuple[str, ...]) -> None:
    username = words[-1].removesuffix("-app") + "-app"
    with fleet.client(0, username) as one, fleet.client(1, username) as other:
        for client in (one, other):
            assert client.send_message(message()) == {}
        fleet.operator(*words)
        began = time.monotonic()
        for client in (one, other):
            code, text = last_words(client)
            assert (code, text.partition(" ref=")[0]) == (421, "4.7.0 Credential no longer valid, sign in again")
        assert time.monotonic() - began < SECONDS
    for number in (0, 1):
        assert refusal(fleet, number, username) == "535 5.7.8 Authentication credentials invalid"


def rcpt(client: smtplib.SMTP, address: str) -> tuple[int, str]:
    """Begin a message to somebody; the reply to RCPT."""
    client.rset()
    assert client.mail("me@example.com")[0] == 250
    code, text = client.rcpt(address)
    return code, text.decode()


def refuses(client: smtplib.SMTP, address: str) -> bool:
    return rcpt(client, address)[0] == 550


def test_a_suppressed_recipient_is_refused_within_seconds(fleet: Fleet) -> None:
    with fleet.client(0, "bounced-app") as one, fleet.client(1, "bounced-app") as other:
        for client in (one, other):
            assert rcpt(client, "gone@b.example")[0] == 250
        fleet.operator("suppression", "add", "bounced", "Gone@B.example", "--reason", "complaint")
        today = time.strftime("%Y-%m-%d", time.gmtime())
        for client in (one, other):
            wait_until(partial(refuses, client, "gone@b.example"), SECONDS, "it is not refused")
            assert rcpt(client, "gone@b.example") == (550, f"5.1.1 gone@b.example suppressed since {today} (complaint)")
            client.rset()
            assert client.send_message(message()) == {}


def test_two_relays_hold_an_account_to_one_quota(fleet: Fleet) -> None:
    fleet.operator("account", "set", "counted", "--quota", "day:messages:4")
    with fleet.client(0, "counted-app") as one, fleet.client(1, "counted-app") as other:
        for client in (one, one, other, other):
            assert client.send_message(message()) == {}
        # They tell each other once a second.
        wait_until(lambda: {mail(one)[0], mail(other)[0]} == {452}, SECONDS, "they do not share their counts")
        reset = time.strftime("%Y-%m-%dT00:00Z", time.gmtime(time.time() + 24 * 3600))
        for client in (one, other):
            code, text = mail(client)
            words = f"4.7.1 Daily quota of 4 messages reached, resets {reset}"
            assert (code, text.partition(" ref=")[0]) == (452, words)
    for number in (0, 1):
        assert value(fleet.shown(number), 'relay_quota_refusals_total{unit="messages",window="day"}') >= 1


@pytest.mark.requirement("CORE-SMTP-001")
def test_who_guesses_at_one_relay_waits_at_the_other(fleet: Fleet) -> None:
    def guess(session: int) -> set[int]:
        with fleet.client(0) as client:
            guesses = [base64.b64encode(f"\0guessed-app\0{session} {n}".encode()).decode() for n in range(3)]
            return {client.docmd("AUTH PLAIN", words)[0] for words in guesses}

    with ThreadPoolExecutor() as pool:
        assert set.union(*pool.map(guess, range(4))) <= {535, 454}
    # Its right secret makes no difference to where the guesses came from.
    assert refusal(fleet, 1, "guessed-app").startswith("454 4.7.0 Too many failed sign-ins, try again in ")


@pytest.mark.requirement("EC-3")
def test_mail_goes_on_without_the_cache_and_what_was_changed_meanwhile_is_learnt_with_it(fleet: Fleet) -> None:
    with fleet.client(0, "kept-app") as one, fleet.client(1, "kept-app") as other:
        fleet.cache.kill()
        try:
            for client in (one, other):
                assert client.send_message(message()) == {}
            for number in (0, 1):
                with fleet.client(number, "shop-app") as late:
                    assert late.send_message(message()) == {}
                wait_until(partial(fleet.knows, number, 0), SECONDS, "the cache is away, and the relay does not see it")
            with psycopg.connect(fleet.environment["DATABASE_URL"]) as connection:
                connection.execute("UPDATE account SET disabled_at = now() WHERE name = 'kept'")
            # The copies are an hour good, as far as anybody knows.
            assert [mail(client)[0] for client in (one, other)] == [250, 250]
        finally:
            fleet.cache.start()
        for client in (one, other):
            assert last_words(client, 20)[0] == 421
    fleet.settle()


@pytest.mark.requirement("CORE-OPS-001")
def test_a_transcript_shows_sessions_as_they_go_on_and_ends_in_order(fleet: Fleet, tmp_path: Path) -> None:
    output = tmp_path / "transcript"

    def shows(words: str) -> bool:
        return words in output.read_text()

    def shown(client: smtplib.SMTP, words: str) -> bool:
        client.docmd(words)
        return shows(f"C: {words}\n")

    with (
        fleet.client(0, "shop-app") as one,
        fleet.client(1, "shop-app") as other,
        fleet.client(1) as stranger,
        fleet.listening(output, "--account", "shop") as child,
    ):
        for client, word in ((one, "first"), (other, "second")):
            wait_until(partial(shown, client, f"HELP {word}"), 10, "not shown")
        stranger.docmd("HELP stranger")
        assert other.send_message(message()) == {}
        other.quit()
        wait_until(lambda: shows("*: session ended: quit\n"), SECONDS, "not shown to its end")
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 0
        assert child.stderr
        assert child.stderr.read() == ""
    lines = output.read_text().splitlines()
    assert lines[-1] == "stopped"
    said = [re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} ([a-z2-7]{16}) 127\.0\.0\.1 ([CS*]: .+)", line) for line in lines[:-1]]
    assert all(said), lines
    words = [match[2] for match in said if match]
    mail_from = next(n for n, line in enumerate(words) if line.startswith("C: mail FROM"))
    assert [re.sub(r"queued as .*|\d+ octets|size=\d+", "...", line) for line in words[mail_from:]] == [
        "C: mail FROM:<me@example.com> ...",
        "S: 250 2.1.0 Sender OK",
        "C: rcpt TO:<you@example.net>",
        "S: 250 2.1.5 Recipient OK",
        "C: data",
        "S: 354 End data with <CR><LF>.<CR><LF>",
        "C: (... of mail)",
        "S: 250 2.0.0 ...",
        "C: quit",
        "S: 221 2.0.0 Goodbye",
        "*: session ended: quit",
    ]
    assert not any("stranger" in line for line in words)


@pytest.mark.requirement("TLS-003")
def test_a_client_certificate_signs_in_as_the_operator_said(fleet: Fleet, files: Files) -> None:
    made = ("credential", "create", "shop", "--username", "device", "--no-password", "--certificate-name", CERTIFIED)
    assert fleet.operator(*made) == "Account   shop\nUsername  device\n"
    trust = files.trust()
    files.ca.issue_cert(CERTIFIED.lower()).configure_cert(trust)
    for number in (0, 1):
        with fleet.client(number, trust=trust) as client:
            assert client.docmd("AUTH", "EXTERNAL =") == (235, b"2.7.0 Authentication succeeded")
            assert client.send_message(message()) == {}
    stranger = files.trust()
    files.ca.issue_cert("printer.shop.example").configure_cert(stranger)
    for context, code in ((stranger, 535), (fleet.trust, 504)):
        with fleet.client(0, trust=context) as client:
            assert client.docmd("AUTH", "EXTERNAL =")[0] == code


@pytest.mark.requirement("CORE-SMTP-001")
def test_a_chosen_password_signs_in(fleet: Fleet) -> None:
    password = "twelve letters and more"
    fleet.operator("credential", "create", "shop", "--username", "desk", "--password-file", "-", said=password + "\n")
    for number in (0, 1):
        with fleet.client(number, "desk", password) as client:
            assert client.send_message(message()) == {}
    assert refusal(fleet, 0, "desk", "twelve letters").startswith("535 5.7.8 ")


@pytest.mark.requirement("CORE-SMTP-001")
def test_a_password_is_exchanged_while_the_one_before_is_good(fleet: Fleet) -> None:
    made = json.loads(fleet.operator("credential", "create", "shop", "--username", "moving", "--json"))
    for number in (0, 1):
        with fleet.client(number, "moving", made["secret"]):
            pass
    rotated = json.loads(fleet.operator("credential", "rotate", "moving", "--overlap-hours", "1", "--json"))
    assert (rotated["account"], rotated["username"]) == ("shop", "moving")
    for number in (0, 1):
        for secret in (rotated["secret"], made["secret"]):
            with fleet.client(number, "moving", secret) as client:
                assert client.send_message(message()) == {}
    last = json.loads(fleet.operator("credential", "rotate", "moving", "--overlap-hours", "0", "--json"))
    wait_until(lambda: refusal(fleet, 0, "moving", made["secret"]).startswith("535"), SECONDS, "still good")
    assert refusal(fleet, 0, "moving", rotated["secret"]) == "535 5.7.8 Authentication credentials invalid"
    with fleet.client(0, "moving", last["secret"]) as client:
        assert client.send_message(message()) == {}


@pytest.mark.requirement("CORE-SMTP-001")
def test_a_credential_is_refused_outside_of_its_networks(fleet: Fleet) -> None:
    words = ("credential", "create", "shop", "--username", "branch", "--network", "127.0.0.2/32", "--json")
    secret = json.loads(fleet.operator(*words))["secret"]
    assert refusal(fleet, 0, "branch", secret) == "535 5.7.8 This credential may not be used from 127.0.0.1"
    with smtplib.SMTP_SSL(
        "localhost", fleet.relays[0].tls, timeout=10, context=fleet.trust, source_address=("127.0.0.2", 0)
    ) as client:
        client.login("branch", secret)
        assert client.send_message(message()) == {}


@pytest.mark.requirement("CORE-OPS-003")
def test_what_happened_is_counted(fleet: Fleet) -> None:
    counts = (
        'relay_connections_total{result="served"}',
        'relay_auth_attempts_total{result="accepted"}',
        'relay_messages_total{result="accepted"}',
        "relay_accept_seconds_count",
        "database_transaction_seconds_count",
        'database_pool_requests_total{result="served"}',
    )
    before = fleet.shown(0)
    with fleet.client(0, "shop-app") as client:
        assert client.send_message(message()) == {}
        shown = fleet.shown(0)
        assert value(shown, "relay_sessions") == value(before, "relay_sessions") + 1
        client.quit()
    with fleet.client(0) as client:
        # Nobody knows him, so PostgreSQL is asked.
        assert client.docmd("AUTH PLAIN", base64.b64encode(b"\0nobody\0x").decode())[0] == 535
    wait_until(
        lambda: all(value(fleet.shown(0), name) > value(before, name) for name in counts), SECONDS, "not counted"
    )
    for name in ("relay_queue_depth ", "relay_certificate_expiry_timestamp_seconds ", "database_pool_connections{"):
        assert f"\n{name}" in shown


def greetings(fleet: Fleet, source: str, count: int) -> list[int]:
    """What connections from an address are greeted with, one after the other."""
    codes = []
    for _ in range(count):
        client = smtplib.SMTP(timeout=10, source_address=(source, 0))
        codes.append(client.connect("127.0.0.1", fleet.relays[0].starttls)[0])
        client.close()
    return codes


@pytest.mark.requirement("CORE-SMTP-006")
@pytest.mark.requirement("CORE-OPS-002")
def test_a_reload_changes_how_often_strangers_may_connect(fleet: Fleet) -> None:
    assert greetings(fleet, "127.0.0.3", 12) == [220] * 12
    fleet.reload(0, "RELAY_CONNECTIONS_PER_MINUTE=2\nRELAY_EXEMPT_NETWORKS=127.0.0.5/32\n")
    # A minute may end meanwhile, but not two: of five, four are let in at most.
    assert 421 in greetings(fleet, "127.0.0.4", 5)
    assert greetings(fleet, "127.0.0.5", 5) == [220] * 5
    # The default is ten.
    fleet.reload(0, "")
    assert 421 in greetings(fleet, "127.0.0.6", 21)
    fleet.reload(0, "RELAY_CONNECTIONS_PER_MINUTE=0\n")
    assert greetings(fleet, "127.0.0.4", 5) == [220] * 5
