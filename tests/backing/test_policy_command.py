"""Options, credentials and suppression lists as an operator changes them, with real parts; and who is told."""

import asyncio
import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from backing.aws import Aws
from backing.cache import Cache, get, publish
from backing.ids import now
from backing.notices import CHANNEL, Notice, decode
from backing.settings import CacheSettings
from tests.backing.conftest import REGION, Run
from tests.valkey import Valkey

CREATE = ("account", "create", "shop", "--domain", "a.example", "--smtp", "h:25", "--username", "till")
UNTOLD = (
    "note: relays could not be told (CACHE_URL names no cache); each will know within RELAY_CREDENTIAL_CACHE_SECONDS,"
    " one minute by default\n"
)


@pytest.fixture
def shop(run: Run) -> Run:
    assert run(*CREATE, "--check-from", "--quota", "day:messages:1000").returncode == 0
    return run


def test_what_an_account_may_do_is_changed_and_shown(shop: Run) -> None:
    changed = shop(
        *("account", "set", "shop", "--no-check-from", "--repair-line-ends", "--max-sessions", "20"),
        *("--quota", "month:recipients:50000", "--quota", "day:messages:2000", "--on-unknown", "hold"),
    )
    assert (changed.returncode, changed.stderr) == (0, UNTOLD)
    assert changed.stdout == (
        "Account           shop\nState             enabled\nDomains           a.example\nProvider          smtp\n"
        "On unknown        hold\nCheck From        no\nRepair line ends  yes\nMax sessions      20\n"
        "Quotas            day:messages:2000, month:recipients:50000\nRetry after       the worker's own\n"
        "Expires after     the worker's own\nSends DSN         yes\nDelay notice      never\n"
        "Retention         the worker's own\nArchive           no\nRules             0\n"
        "Credentials       1\nSuppressed        0\n"
    )
    again = shop("account", "set", "shop", "--no-max-sessions", "--no-quota", "day:messages", "--domain", "*.b.example")
    assert again.returncode == 0
    shown = json.loads(shop("account", "show", "shop", "--json").stdout)
    assert len(shown.pop("id")) == 36
    assert shown == {
        "name": "shop",
        "disabled": False,
        "allowed_domains": ["*.b.example"],
        "provider": "smtp",
        "on_unknown": "hold",
        "check_from": False,
        "repair_line_ends": True,
        "max_sessions": None,
        "quotas": {"month": {"recipients": 50000}},
        "retry_seconds": None,
        "expiry_seconds": None,
        "send_dsn": True,
        "delay_notice_seconds": None,
        "retention_days": None,
        "archive": False,
        "rules": 0,
        "credentials": 1,
        "suppressed": 0,
    }


def test_how_mail_of_an_account_is_delivered_is_set_and_given_back_to_the_worker(shop: Run) -> None:
    names = ("retry_seconds", "expiry_seconds", "send_dsn", "delay_notice_seconds", "retention_days", "archive")

    def shown() -> list[object]:
        row = json.loads(shop("account", "show", "shop", "--json").stdout)
        return [row[name] for name in names]

    changed = shop(
        *("account", "set", "shop", "--retry-seconds", "30,300", "--expiry-seconds", "3600", "--no-send-dsn"),
        *("--delay-notice-seconds", "900", "--retention-days", "30", "--archive"),
    )
    assert changed.returncode == 0
    assert changed.stdout.splitlines()[9:15] == [
        "Retry after       30, 300 s",
        "Expires after     3600 s",
        "Sends DSN         no",
        "Delay notice      after 900 s",
        "Retention         30 days",
        "Archive           yes",
    ]
    assert shown() == [[30, 300], 3600, False, 900, 30, True]
    assert (
        shop("account", "set", "shop", "--retry-seconds", "default", "--delay-notice-seconds", "never").returncode == 0
    )
    assert shown() == [None, 3600, False, None, 30, True]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--expiry-seconds", "20"), "'20': expected a whole number from 300 to 432000"),
        (("--retry-seconds", "60,x"), "'x': expected a whole number from 1 to 86400"),
        (("--quota", "week:messages:1"), "'week:messages' is no quota; expected hour|day|month:messages|recipients"),
        (("--quota", "day:messages:0"), "'day:messages:0': '0' is no whole number above 0"),
        (("--max-sessions", "many"), "invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(
    run: Run, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        run("account", "set", "shop", *arguments)
    assert ended.value.code == 2
    assert says in capsys.readouterr().err


def test_credentials_of_every_kind(
    shop: Run, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = tmp_path / "password"
    password.write_text("twelve letters\n")
    chosen = shop("credential", "create", "shop", "--username", "desk", "--password-file", str(password))
    assert (chosen.returncode, chosen.stdout) == (0, "Account   shop\nUsername  desk\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("elevenchars\n"))
    short = shop("credential", "create", "shop", "--password-file", "-")
    assert (short.returncode, short.stderr) == (
        2,
        "error: --password-file -: a password has 12 to 256 characters, this one has 11\n",
    )
    device = ("credential", "create", "shop", "--username", "device", "--no-password", "--certificate-name", "Scan.A")
    made = shop(*device, "--network", "192.0.2.0/24", "--network", "2001:db8::/32", "--json")
    assert json.loads(made.stdout) == {"account": "shop", "username": "device", "secret": None}
    assert shop("credential", "create", "shop", "--certificate-name", "scan.a").stderr == (
        "error: another credential has this certificate name; revoke that one first\n"
    )
    assert shop("credential", "revoke", "till").stderr == UNTOLD

    rows = json.loads(shop("credential", "list", "shop", "--json").stdout)
    assert [(row["username"], row["password"], row["networks"], row["certificate_name"]) for row in rows] == [
        ("desk", "chosen", [], None),
        ("device", "none", ["192.0.2.0/24", "2001:db8::/32"], "scan.a"),
        ("till", "generated", [], None),
    ]
    assert [row["revoked"] for row in rows] == [False, False, True]
    lines = shop("credential", "list", "shop").stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["desk", "chosen", "valid"],
        ["device", "none", "valid"],
        ["till", "generated", "revoked"],
    ]
    with psycopg.connect(database_url) as connection:
        (phc,) = connection.execute("SELECT password_hash FROM credential WHERE username = 'desk'").fetchone() or ("",)
    assert phc.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    Argon2id.verify_phc_encoded(b"twelve letters", phc)


def test_a_credential_ends_and_is_given_another_password(shop: Run, tmp_path: Path) -> None:
    made = json.loads(
        shop("credential", "create", "shop", "--username", "app", "--expires-at", "2099-02-01", "--json").stdout
    )
    late = shop("credential", "create", "shop", "--expires-at", "2020-01-01")
    assert (late.returncode, late.stderr) == (
        1,
        "error: 2020-01-01T00:00:00+00:00 is over; a credential ends in the future\n",
    )
    rotated = shop("credential", "rotate", "app")
    assert rotated.stderr == UNTOLD
    assert rotated.stdout.startswith("Account   shop\nUsername  app\nPassword  ")
    assert made["secret"] not in rotated.stdout
    password = tmp_path / "password"
    password.write_text("twelve letters\n")
    chosen = shop("credential", "rotate", "app", "--password-file", str(password), "--overlap-hours", "1")
    assert chosen.stdout == "Account   shop\nUsername  app\n"
    assert shop("credential", "rotate", "app").stderr == (
        "error: 2 passwords of before are good still; wait, or rotate without an overlap\n"
    )
    (row, _) = json.loads(shop("credential", "list", "shop", "--json").stdout)
    ends = now() + timedelta(hours=1)
    assert abs(datetime.fromisoformat(row.pop("rotating_until")) - ends) < timedelta(minutes=1)
    assert row == {
        "username": "app",
        "password": "chosen",
        "networks": [],
        "certificate_name": None,
        "revoked": False,
        "created": row["created"],
        "expires_at": "2099-02-01T00:00:00Z",
        "expired": False,
        "last_used_at": None,
    }
    heads, app, _ = shop("credential", "list", "shop").stdout.splitlines()
    assert heads.split("  ")[0] == "USERNAME PASSWORD"
    assert app.split()[:5] == ["app", "chosen", "valid", row["created"], "2099-02-01T00:00:00Z"]


def test_a_suppression_list_grows_and_shrinks(shop: Run, tmp_path: Path) -> None:
    listed = tmp_path / "listed"
    listed.write_text("Bob@B.example\n\n  carol@c.example \n")
    added = shop("suppression", "add", "shop", "--file", str(listed), "--reason", "bounce", "--until", "2099-01-31")
    assert (added.returncode, added.stdout) == (0, "shop sends to 2 addresses no more.\n")
    assert shop("suppression", "add", "shop", "dan@d.example").stdout == "shop sends to this address no more.\n"
    rows = json.loads(shop("suppression", "list", "shop", "--json").stdout)
    assert [(row["address"], row["reason"], row["source"]) for row in rows] == [
        ("dan@d.example", "manual", "operator"),
        ("carol@c.example", "bounce", "operator"),
        ("bob@b.example", "bounce", "operator"),
    ]
    text = shop("suppression", "list", "shop").stdout.splitlines()
    assert text[3].split()[1:] == ["2099-01-31", "bounce", "operator", "every", "bob@b.example"]
    assert shop("suppression", "remove", "shop", "BOB@b.example").stdout == "shop may send to BOB@b.example again.\n"
    gone = shop("suppression", "remove", "shop", "dan@d.example", "bob@b.example")
    assert (gone.returncode, gone.stderr) == (
        1,
        "error: bob@b.example is not suppressed for shop; `suppression list` shows what is\n",
    )
    assert len(json.loads(shop("suppression", "list", "shop", "--json").stdout)) == 2


def test_an_account_is_deleted_only_when_nothing_of_it_is_under_way(shop: Run, database_url: str) -> None:
    refused = shop("account", "delete", "shop")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: account 'shop' is enabled; `account disable shop` first\n",
    )
    assert shop("account", "disable", "shop").returncode == 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
            " queued_at, expires_at) SELECT id, id, '', '', 1, sha256(''), false, false, now(), now(), now()"
            " FROM account"
        )
        connection.execute("INSERT INTO delivery (id, message_id, account_id) SELECT id, id, id FROM account")
        assert shop("account", "delete", "shop").stderr == (
            "error: mail of account 'shop' is not delivered yet; try again when it is\n"
        )
        connection.execute("UPDATE delivery SET state = 'done'")
    assert shop("account", "enable", "shop").stdout == "Account shop can sign in again.\n"
    assert shop("suppression", "add", "shop", "dan@d.example").returncode == 0
    shop("account", "disable", "shop")
    assert shop("account", "delete", "shop").stdout == (
        "Account shop is deleted, and with it: 1 credentials, 1 providers, 0 routing rules, 1 suppressed."
        " Its messages stay on record.\n"
    )
    assert shop("account", "list", "--json").stdout == "[]\n"


def test_relays_are_told_what_has_changed(shop: Run, valkey_url: str) -> None:
    account = json.loads(shop("account", "show", "shop", "--json").stdout)["id"]

    def told() -> str:
        said = [
            shop(*words, CACHE_URL=valkey_url)
            for words in (
                ("credential", "revoke", "till"),
                ("suppression", "add", "shop", "dan@d.example"),
                ("account", "set", "shop", "--check-from"),
            )
        ]
        return "".join(one.stderr for one in said)

    notices, errors = asyncio.run(heard(valkey_url, told, 3))
    assert notices == [Notice("credential", "till"), Notice("suppression", account), Notice("account", account)]
    assert errors == ""


async def heard(url: str, act: Callable[[], str], count: int) -> tuple[list[Notice], str]:
    settings = CacheSettings(database_url="postgresql://u@h/d", cache_url=url)
    async with Cache(settings, Aws(REGION)).opened() as cache, cache.subscription(CHANNEL) as subscription:
        said = await asyncio.to_thread(act)
        async with asyncio.timeout(5):
            return [decode(await subscription.next()) for _ in range(count)], said


def test_a_cache_that_is_away_is_said_and_harms_nothing(shop: Run) -> None:
    revoked = shop("credential", "revoke", "till", CACHE_URL="redis://127.0.0.1:9")
    assert (revoked.returncode, revoked.stdout) == (0, "Credential till can sign in no more.\n")
    assert revoked.stderr.startswith("note: relays could not be told (cache: away); each will know within ")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "transcript: give --account NAME, --network CIDR, or both"),
        (("--account", "shop"), 1, "CACHE_URL names no cache; a transcript comes through it"),
    ],
)
def test_a_transcript_that_cannot_be_is_refused(run: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    failed = run("transcript", *arguments)
    assert (failed.returncode, failed.stdout, failed.stderr) == (code, "", f"error: {says}\n")


def test_a_transcript_is_written_as_it_is_heard_until_the_cache_goes(run: Run, own_valkey: Valkey) -> None:
    async def speak() -> None:
        settings = CacheSettings(database_url="postgresql://u@h/d", cache_url=own_valkey.url)
        async with Cache(settings, Aws(REGION)).opened() as cache:
            try:
                async with asyncio.timeout(25), cache.subscription(CHANNEL) as asked:
                    demand = json.loads(decode(await asked.next()).subject)
                line = {
                    "at": "2026-11-22T21:04:11.532+00:00",
                    "session": "s1",
                    "peer": "192.0.2.1",
                    "who": "C",
                    "line": "QUIT",
                }
                await cache.ask([publish(f"transcript:{demand['id']}", json.dumps(line).encode())])
                # Once it answers again, what it had for others is on its way to them.
                await cache.ask([get("nothing")])
                assert (demand["account"], demand["network"]) == ("shop", "192.0.2.0/24")
            finally:
                own_valkey.kill()

    with ThreadPoolExecutor(1) as threads:
        speaking = threads.submit(lambda: asyncio.run(speak()))
        ended = run("transcript", "--account", "shop", "--network", "192.0.2.0/24", CACHE_URL=own_valkey.url)
        speaking.result(5)
    assert ended.stdout == "21:04:11.532 s1 192.0.2.1 C: QUIT\n"
    assert (ended.returncode, ended.stderr[:14]) == (69, "error: cache: ")
