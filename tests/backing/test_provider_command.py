"""Providers as an operator makes, changes and deletes them, with real parts."""

import asyncio
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backing.aws import Aws
from backing.cache import Cache
from backing.notices import CHANNEL, Notice, decode
from backing.secrets import Vault
from backing.settings import CacheSettings
from tests.backing.conftest import REGION, Run
from tests.waiting import wait_until
from tests.web.working import working as answering

UNTOLD = (
    "note: workers could not be told (CACHE_URL names no cache); each will know within WORKER_ROUTING_SECONDS,"
    " five seconds by default\n"
)
REST = "A worker reads the configuration in full when mail comes to it, and logs what it cannot use.\n"
SES = ("provider", "create", "ses-eu", "--kind", "ses", "--config", "region=eu-west-1")


@pytest.fixture
def shop(run: Run) -> Run:
    assert run("account", "create", "shop", "--domain", "a.example", "--smtp", "h:25").returncode == 0
    return run


MAILGUN = ("--config", "domain=mg.shop.example", "--account", "shop")


def rows(url: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT config, limits, allowed_domains, version FROM provider WHERE name <> 'smtp' ORDER BY name"
        ).fetchall()


def sealed(url: str) -> tuple[Any, ...]:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT id, version, secret FROM provider WHERE name <> 'smtp'").fetchone()
    return row or ()


def test_a_shared_provider_is_made_changed_and_shown(shop: Run, database_url: str) -> None:
    made = shop(
        *(*SES, "--config", "max_recipients=7", "--config", "feedback_address=a=b"),
        *("--limit", "rate=14", "--limit", 'warm_up={"days": 3}', "--domain", "B.example", "--domain", "*.b.example"),
    )
    assert (made.returncode, made.stdout, made.stderr) == (0, f"Provider ses-eu is made. {REST}", UNTOLD)
    config = {"region": "eu-west-1", "max_recipients": 7, "feedback_address": "a=b"}
    limits = {"rate": 14, "warm_up": {"days": 3}}
    assert rows(database_url) == [(config, limits, ["*.b.example", "b.example"], 1)]

    changed = shop(
        "provider", "set", "ses-eu", "--config", "max_recipients=null", "--limit", "rate=null", "--limit", "daily=9"
    )
    assert (changed.returncode, changed.stdout) == (0, f"Provider ses-eu is changed. {REST}")
    assert shop("provider", "set", "ses-eu", "--any-domain", "--config", "feedback_address=c").returncode == 0
    shown = json.loads(shop("provider", "show", "ses-eu", "--json").stdout)
    assert len(shown.pop("id")) == 36
    assert shown == {
        "name": "ses-eu",
        "account": None,
        "kind": "ses",
        "enabled": True,
        "version": 3,
        "secret": False,
        "allowed_domains": None,
        "limits": {"daily": 9, "warm_up": {"days": 3}},
        "config": {"region": "eu-west-1", "feedback_address": "c"},
        "secret_key": None,
        "secret_sealed_at": None,
    }
    assert shop("provider", "show", "ses-eu").stdout == (
        "Provider          ses-eu\nAccount           (shared by all)\nKind              ses\n"
        "State             enabled\nSecret            none\nSecret sealed     -\nSender domains    any\n"
        'Limits            {"daily": 9, "warm_up": {"days": 3}}\n'
        'Config            {"region": "eu-west-1", "feedback_address": "c"}\nVersion           3\n'
    )


def test_a_file_of_settings_replaces_those_there_were(shop: Run, database_url: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"region": "us-east-1"}')
    assert shop(*SES, "--config", "tenant=x", "--account", "shop").returncode == 0
    set_file = ("provider", "set", "ses-eu", "--account", "shop", "--config-file", str(file))
    assert shop(*set_file, "--config", "tenant=y").returncode == 0
    assert rows(database_url) == [({"region": "us-east-1", "tenant": "y"}, {}, None, 2)]


def test_an_account_sees_its_own_providers_and_the_shared_ones(shop: Run) -> None:
    assert shop("account", "create", "bakery", "--domain", "b.example", "--smtp", "h:25").returncode == 0
    assert shop(*SES, "--limit", "rate=14", "--domain", "b.example").returncode == 0
    assert shop("provider", "disable", "ses-eu").stdout == (
        "Provider ses-eu is used no more; mail that has no other provider waits.\n"
    )
    assert shop("provider", "list", "--account", "shop").stdout == (
        "PROVIDER ACCOUNT  KIND STATE    SECRET LIMITS  SENDER DOMAINS\n"
        "ses-eu   (shared) ses  disabled -      rate=14 b.example\n"
        "smtp     shop     smtp enabled  -      -       any\n"
    )
    assert shop("provider", "enable", "ses-eu").stdout == "Provider ses-eu is used again.\n"
    listed = json.loads(shop("provider", "list", "--json").stdout)
    assert [(row["name"], row["account"], row["enabled"]) for row in listed] == [
        ("ses-eu", None, True),
        ("smtp", "bakery", True),
        ("smtp", "shop", True),
    ]


async def opened(key: str, row: tuple[UUID, int, bytes]) -> str:
    async with Aws(REGION).kms() as kms:
        return await Vault(kms, key).open(row[0], row[2])


def test_a_secret_comes_from_a_file_or_standard_input_is_sealed_and_never_shown(
    shop: Run, database_url: str, aws_parts: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secret"
    file.write_text("key-one\nsecond line\n")
    made = shop("provider", "create", "mg-1", "--kind", "mailgun", *MAILGUN, "--secret-file", str(file))
    assert made.returncode == 0
    first = sealed(database_url)
    assert asyncio.run(opened(aws_parts["kms"], first)) == "key-one"

    monkeypatch.setattr("sys.stdin", io.StringIO("key-two\n"))
    changed = shop("provider", "secret", "mg-1", "--account", "shop", "--file", "-")
    assert (changed.stdout, changed.stderr) == ("Provider mg-1 has another secret.\n", UNTOLD)
    second = sealed(database_url)
    assert second[:2] == (first[0], 2)
    assert asyncio.run(opened(aws_parts["kms"], second)) == "key-two"

    said = [made, changed, shop("provider", "show", "mg-1", "--account", "shop", "--json"), shop("provider", "list")]
    assert not [each for each in said if "key-" in each.stdout + each.stderr]
    assert shop("provider", "secret", "mg-1", "--account", "shop", "--none").stdout == (
        "Provider mg-1 has no secret any more.\n"
    )
    assert sealed(database_url) == (first[0], 3, None)


def test_a_provider_that_something_needs_is_not_deleted(shop: Run, database_url: str) -> None:
    assert shop(*SES).returncode == 0
    rule = ("rule", "create", "shop", "bulk", "--tag", "bulk")
    assert shop(*rule, "--to", "smtp", "--failover", "ses-eu").returncode == 0
    delete = ("provider", "delete", "ses-eu")
    assert shop(*delete).stderr == (
        "error: provider 'ses-eu' is named by shop/bulk; change or delete these rules first\n"
    )
    # A rule means the account's own provider, once there is one of that name.
    assert shop(*SES, "--account", "shop").returncode == 0
    assert shop(*delete, "--account", "shop").returncode == 1
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO message (id, account_id, session, mail_from, size, sha256, smtputf8, eight_bit, accepted_at,"
            " queued_at, expires_at) SELECT id, id, '', '', 1, sha256(''), false, false, now(), now(), now()"
            " FROM account"
        )
        connection.execute("INSERT INTO delivery (id, message_id, account_id) SELECT id, id, id FROM account")
        connection.execute(
            "INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state, provider_id)"
            " SELECT account.id, 0, account.id, account.id, 'b@far.example', 'unknown', provider.id"
            " FROM account, provider WHERE provider.account_id IS NULL"
        )
        assert shop(*delete).stderr == (
            "error: provider 'ses-eu' has mail on its way; `provider disable` it and try again later\n"
        )
        connection.execute("UPDATE recipient SET state = 'accepted'")
    assert shop(*delete).stdout == "Provider ses-eu is deleted.\n"
    assert shop("account", "provider", "shop", "--provider", "ses-eu").returncode == 0
    assert shop("provider", "delete", "ses-eu", "--account", "shop").stderr == (
        "error: provider 'ses-eu' is the default of shop; `account provider` first\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (
            ("show", "none"),
            1,
            "there is no provider 'none' shared by all accounts; --account NAME means one of an account",
        ),
        (("enable", "none", "--account", "shop"), 1, "there is no provider 'none' of shop"),
        (("show", "smtp", "--account", "none"), 1, "there is no account 'none'"),
        (("create", "X", "--kind", "ses"), 1, "a provider name has small letters, digits and dashes, 63 at most"),
        (
            ("create", "smtp", "--kind", "ses", "--account", "shop"),
            1,
            "a provider of this name exists; choose another, or use `provider set`",
        ),
        (
            ("create", "x", "--kind", "mailgun", "--config", "api_key=k"),
            1,
            "config key 'api_key': secrets are kept apart and sealed; use `provider secret`",
        ),
        (
            ("create", "x", "--kind", "ses", "--limit", "rate=fast"),
            1,
            "limit 'rate' is 'fast'; expected a number above 0",
        ),
        (("create", "x", "--kind", "ses", "--limit", "daily=0"), 1, "limit 'daily' is 0; expected a number above 0"),
        (("create", "x", "--kind", "ses", "--domain", "a b"), 1, "'a b' is not a domain: Bad address: the domain is"),
        (
            ("create", "x", "--kind", "ses", "--config", "regoin=eu-west-1"),
            1,
            "config: regoin: there is no such key; there are: region, configuration_set, feedback_address, tenant, ",
        ),
        (
            ("create", "x", "--kind", "ses", "--config", 'a="\\u0000"'),
            1,
            "the config has U+0000, which PostgreSQL cannot",
        ),
        (
            ("create", "x", "--kind", "ses", "--config", "a=[NaN]"),
            1,
            "the config has NaN, Infinity or half a character",
        ),
        (("create", "x", "--kind", "ses", "--config", 'a="\\ud800"'), 1, "the config has NaN, Infinity or half a"),
        (
            ("create", "x", "--kind", "ses", "--config", f"a={'x' * 17_000}"),
            1,
            "the config has 17009 octets as JSON; 16384 at most",
        ),
        (("create", "x", "--kind", "ses", "--config", "a=1", "--config", "a=2"), 2, "--config a: is given twice"),
        (
            ("create", "x", "--kind", "ses", "--config-file", "/none"),
            2,
            "--config-file /none: No such file or directory",
        ),
        (
            ("create", "x", "--kind", "ses", "--secret-file", "/dev/null"),
            2,
            "--secret-file /dev/null: its first line is",
        ),
        (("set", "smtp", "--any-domain", "--domain", "a.b"), 2, "--any-domain and --domain exclude each other"),
    ],
)
def test_what_cannot_be_is_said(shop: Run, arguments: tuple[str, ...], code: int, says: str) -> None:
    failed = shop("provider", *arguments)
    assert (failed.returncode, failed.stdout) == (code, "")
    assert failed.stderr.startswith(f"error: {says}")


@pytest.mark.parametrize(
    ("text", "says"), [("[1]", "is no JSON object"), ("{", "is not JSON: "), ("[" * 100_000, "is not JSON: ")]
)
def test_a_file_that_is_no_object_is_refused(shop: Run, tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "config"
    file.write_text(text)
    failed = shop("provider", "create", "x", "--kind", "ses", "--config-file", str(file))
    assert (failed.returncode, failed.stdout) == (2, "")
    assert failed.stderr.startswith(f"error: --config-file {file}: {says}")


def test_workers_are_told_whose_ways_have_changed(shop: Run, valkey_url: str) -> None:
    account = json.loads(shop("account", "show", "shop", "--json").stdout)["id"]

    def act() -> list[str]:
        several = (
            SES,
            ("provider", "disable", "smtp", "--account", "shop"),
            ("rule", "create", "shop", "r", "--discard"),
            ("rule", "delete", "shop", "r"),
            ("account", "provider", "shop", "--provider", "ses-eu"),
        )
        return [shop(*words, CACHE_URL=valkey_url).stderr for words in several]

    async def heard() -> tuple[list[Notice], list[str]]:
        settings = CacheSettings(database_url="postgresql://u@h/d", cache_url=valkey_url)
        async with Cache(settings, Aws(REGION)).opened() as cache, cache.subscription(CHANNEL) as subscription:
            said = await asyncio.to_thread(act)
            async with asyncio.timeout(10):
                return [decode(await subscription.next()) for _ in said], said

    own = Notice("routing", account)
    assert asyncio.run(heard()) == ([Notice("routing", "*"), own, own, own, own], [""] * 5)


@contextmanager
def working(url: str, kms_key: str) -> Iterator[None]:
    """A worker that answers, in a thread with a loop of its own."""
    over = threading.Event()

    async def answer() -> None:
        async with answering(url, kms_key):
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(answer()))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def test_a_test_is_waited_for_and_its_steps_are_shown(shop: Run, database_url: str, aws_parts: dict[str, str]) -> None:
    for name in ("box", "odd"):
        assert shop("provider", "create", name, "--account", "shop", "--kind", "sandbox").returncode == 0
    with psycopg.connect(database_url) as connection:
        # What an earlier release let pass.
        connection.execute("""UPDATE provider SET config = '{"colour": "red"}' WHERE name = 'odd'""")
    mail = ("--account", "shop", "--from", "a@a.example", "--to", "b@far.example")
    with working(database_url, aws_parts["kms"]):
        good, bad = shop("provider", "test", "box", *mail), shop("provider", "test", "odd", "--account", "shop")
    begun = shop("provider", "test", "box", "--account", "shop", "--no-wait")
    assert (good.returncode, good.stderr) == (0, "")
    first, _, head, *lines = good.stdout.splitlines()
    assert first.endswith(" of provider box: done. The provider has taken the mail.")
    assert head.split() == ["STEP", "RESULT", "SECONDS", "FOUND"]
    assert [line.split()[:2] for line in lines if line][:3] == [["settings", "ok"], ["connect", "ok"], ["send", "ok"]]
    assert lines[-1].split()[:2] == ["b@far.example", "accepted"]
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "of provider odd: failed. Its settings cannot be used as they are." in bad.stderr
    assert "colour: there is no such key" in bad.stderr
    assert begun.returncode == 0
    assert begun.stdout.endswith(" of provider box is asked for.\n")
    half = shop("provider", "test", "box", "--account", "shop", "--to", "b@far.example")
    assert (half.returncode, half.stderr) == (2, "error: a mail needs both: --from and --to\n")


def test_secrets_are_sealed_anew(shop: Run, database_url: str, aws_parts: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("key-one\n")
    made = ("provider", "create", "box", "--account", "shop", "--kind", "sandbox", "--secret-file", str(file))
    assert shop(*made).returncode == 0
    reseal = ("provider", "reseal", "box", "--account", "shop")
    assert shop(*reseal).stdout.startswith("The secret of provider box is to be sealed anew.")
    assert shop(*reseal).stdout == "Provider box has no secret, or it is being sealed anew already.\n"
    assert shop("provider", "reseal").stdout.startswith("0 secrets are to be sealed anew.")
    assert shop("webhook", "reseal", "--account", "shop").stdout.startswith("The secrets of 0 endpoints")
    before = sealed(database_url)
    with working(database_url, aws_parts["kms"]):
        wait_until(lambda: sealed(database_url)[2] != before[2], 20, "no worker sealed it anew")
    after = sealed(database_url)
    assert after[:2] == before[:2]
    assert asyncio.run(opened(aws_parts["kms"], after)) == "key-one"
    assert " under arn:aws:kms:" in shop("provider", "show", "box", "--account", "shop").stdout
