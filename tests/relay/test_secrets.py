"""A relay tells nobody a secret: not its log, not its metrics, not whoever looks at its process."""

import base64
import signal
import smtplib
from functools import partial
from pathlib import Path

import psycopg
import pytest

from backing.passwords import password_hash
from tests.relay.house import SECRET, USER, Files
from tests.relay.operator import Fleet
from tests.relay.process import KEY, Process, message, running
from tests.valkey import Valkey
from tests.waiting import wait_until

PASSWORD, WRONG, MISTYPED = "a password somebody chose", "a wrong guess of his", "in-the-wrong-field"
DATABASE_PASSWORD, CACHE_PASSWORD = "of-the-next-database", "of-the-next-cache"
# What the operator's command is told of the database: it has no business there.
NOWHERE = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
GOOD = 235
PRIVATE = "what a message says"
CERTIFIED = "scanner.shop.example"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plain(username: str, secret: str) -> str:
    return b64(f"\0{username}\0{secret}")


# Commands of one session each, and what the last one is answered with.
SESSIONS = [
    ([f"AUTH PLAIN {plain(USER, WRONG)}", "AUTH LOGIN", b64(USER), b64(WRONG)], 535),
    ([f"AUTH PLAIN {plain(USER, SECRET)}"], 235),
    (["AUTH LOGIN", b64(USER), b64(SECRET)], 235),
    ([f"AUTH PLAIN {plain('desk', WRONG)}", f"AUTH PLAIN {plain('desk', PASSWORD)}"], 235),
    ([f"AUTH PLAIN {plain(MISTYPED, WRONG)}"], 535),
    (["AUTH EXTERNAL =", f"AUTH PLAIN {plain(USER, SECRET)}"], 503),
    ([f"AUTH {plain(USER, SECRET)}"], 504),
    (["AUTH CRAM-MD5", plain(USER, SECRET)], 500),
    ([plain(USER, SECRET), b64(SECRET), SECRET, f"AUTH PLAIN {WRONG}"], 501),
    ([f"MAIL FROM:<me@example.com> AUTH={SECRET.replace(' ', '+20')}"], 530),
]
SECRETS = {
    *(SECRET, PASSWORD, WRONG, MISTYPED, DATABASE_PASSWORD, CACHE_PASSWORD, PRIVATE),
    *(b64(SECRET), b64(PASSWORD), b64(WRONG)),
    *(plain(USER, SECRET), plain(USER, WRONG), plain("desk", PASSWORD), plain("desk", WRONG), plain(MISTYPED, WRONG)),
    *(KEY.hex(), base64.b64encode(KEY).decode(), base64.urlsafe_b64encode(KEY).decode(), repr(KEY)[2:-1]),
}


@pytest.fixture
def environment(with_account: dict[str, str], own_valkey: Valkey, files: Files, tmp_path: Path) -> dict[str, str]:
    """The environment of a relay that has everything, and tells as much as it can."""
    authority = tmp_path / "ca.pem"
    files.ca.cert_pem.write_to_path(authority)
    phc = password_hash(PASSWORD)
    with psycopg.connect(with_account["DATABASE_URL"]) as connection:
        for username, hashed, certified in (("desk", phc, None), ("device", None, CERTIFIED)):
            connection.execute(
                "INSERT INTO credential (id, account_id, username, password_hash, certificate_name)"
                " SELECT gen_random_uuid(), id, %s, %s, %s FROM account",
                (username, hashed, certified),
            )
    return with_account | {
        "CACHE_URL": own_valkey.url,
        "LOG_LEVEL": "DEBUG",
        "METRICS_EMF_SECONDS": "0.2",
        "RELAY_CLIENT_CA_FILE": str(authority),
        "RELAY_TLS_CLIENT_CERTIFICATES": "optional",
        "RELAY_LOG_SAMPLE": "1",
    }


def reload(process: Process, file: Path, text: str, event: str) -> None:
    file.write_text(text)
    process.child.send_signal(signal.SIGHUP)
    wait_until(lambda: event in process.log.read_text("utf-8"), 5, f"no line says {event!r}")


def talk(whole: Fleet, commands: list[str], code: int) -> None:
    """Hold a session; where its last command is a sign-in, with mail."""
    with whole.client(0) as client:
        answers = [client.docmd(command)[0] for command in commands]
        assert answers[-1] == code, (commands, answers)
        if code == GOOD:
            mail = message()
            mail.set_content(PRIVATE)
            assert client.send_message(mail) == {}


def is_heard(client: smtplib.SMTP, output: Path) -> bool:
    client.docmd("HELP")
    return "C: HELP" in output.read_text()


def overheard(whole: Fleet, output: Path) -> str:
    """Hold all sessions while an operator listens; what he is shown."""
    with whole.listening(output, "--network", "127.0.0.0/8") as listener:
        with whole.client(0) as client:
            wait_until(partial(is_heard, client, output), 10, "nothing is heard")
        for commands, code in SESSIONS:
            talk(whole, commands, code)
        with whole.client(0) as client:
            client.docmd("HELP that is all")
        wait_until(lambda: "that is all" in output.read_text(), 5, "the transcript lags")
        listener.send_signal(signal.SIGINT)
        assert listener.wait(10) == 0
    return output.read_text()


@pytest.mark.requirement("CORE-OPS-001")
def test_no_secret_gets_out(environment: dict[str, str], own_valkey: Valkey, files: Files, tmp_path: Path) -> None:
    places = "".join(f"{name}={environment.pop(name)}\n" for name in ("DATABASE_URL", "CACHE_URL"))
    file, trust = tmp_path / "settings.env", files.trust()
    file.write_text(places)
    files.ca.issue_cert(CERTIFIED).configure_cert(trust)
    with running(environment | {"SETTINGS_FILE": str(file)}) as process:
        whole = Fleet((process,), environment | {"CACHE_URL": own_valkey.url, **NOWHERE}, own_valkey, file, trust)
        whole.settle()
        told = {"transcript": overheard(whole, tmp_path / "transcript")}
        # Where a password has no place.
        wrong = f"DATABASE_URL=postgresql://u:{DATABASE_PASSWORD}@h/d\nCACHE_URL=redis://:{CACHE_PASSWORD}@h:1\n"
        reload(process, file, wrong, "settings not reloaded")
        reload(process, file, places + "RELAY_MAX_CONNECTIONS=50\n", "settings reloaded")
        own = Path(f"/proc/{process.child.pid}")
        told |= {
            "metrics": whole.shown(0),
            "environment": (own / "environ").read_text(),
            "command line": (own / "cmdline").read_text(),
        }
        code, lines = process.stop()
        told["log"] = process.log.read_text("utf-8")
        assert process.child.stderr
        told["errors"] = process.child.stderr.read()
    assert code == 0
    assert {(what, secret) for what, text in told.items() for secret in SECRETS if secret in text} == set()
    # They did not keep quiet.
    assert told["transcript"].count("***") > len(SESSIONS)
    assert {"session ended", "message", "settings reloaded", "settings not reloaded", "stopped"} <= {
        line.get("event") for line in lines
    }
