"""`python -m backing` as an operator uses it, with a real database and AWS APIs."""

import base64
import json
from pathlib import Path

import psycopg
import pytest

from mail.accounts import secret_digest
from tests.backing.conftest import Run


def test_an_account_is_made_with_a_credential_and_a_provider(
    run: Run, database_url: str, aws_parts: dict[str, str], tmp_path: Path
) -> None:
    password = tmp_path / "password"
    password.write_text("provider secret\nsecond line\n")
    made = run(
        *("account", "create", "shop", "--domain", "Shop.example", "--domain", "*.shop.example", "--json"),
        *("--smtp", "mail.example.net:587", "--smtp-user", "u", "--smtp-password-file", str(password)),
    )
    assert (made.returncode, made.stderr) == (0, "")
    issued = json.loads(made.stdout)
    assert (issued["account"], issued["username"][:5], len(issued["secret"])) == ("shop", "shop-", 43)

    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "SELECT a.allowed_domains, a.on_unknown, p.name, p.kind, p.config, p.secret, c.digest FROM account a"
            " JOIN provider p ON p.id = a.default_provider_id JOIN credential c ON c.account_id = a.id"
        ).fetchone()
    assert row is not None
    config = {"host": "mail.example.net", "port": 587, "tls": "starttls", "username": "u"}
    assert row[:5] == (["*.shop.example", "shop.example"], "resend", "smtp", "smtp", config)
    assert b"provider secret" not in row[5]
    key = base64.urlsafe_b64decode(aws_parts["text"] + "=")
    assert row[6] == secret_digest(key, issued["username"], issued["secret"])


def test_accounts_are_listed_disabled_and_given_more_credentials(run: Run) -> None:
    create = ("--domain", "b.example", "--smtp", "127.0.0.1:25", "--smtp-tls", "none")
    assert run("account", "create", "bakery", "--username", "bakery", *create).returncode == 0
    second = run("credential", "create", "bakery", "--username", "oven")
    assert second.stdout.splitlines()[:2] == ["Account   bakery", "Username  oven"]
    assert json.loads(run("account", "list", "--json").stdout) == [
        {"name": "bakery", "allowed_domains": ["b.example"], "provider": "smtp", "disabled": False, "credentials": 2}
    ]
    assert run("credential", "revoke", "oven").stdout == "Credential oven can sign in no more.\n"
    assert run("account", "disable", "bakery").returncode == 0
    assert run("account", "list").stdout == (
        "ACCOUNT              PROVIDER         CREDENTIALS STATE     DOMAINS\n"
        "bakery               smtp             1           disabled  b.example\n"
    )


NO_ACCOUNT = "there is no account 'none'; `account list` shows those there are"
NEW = ["account", "create", "x", "--domain", "a.b"]
SMTP = ["--smtp", "h:25"]
USERNAME = "a user name has letters, digits and @ . _ - and begins with a letter or digit"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([*NEW, *SMTP, "--domain", "a b"], 1, "'a b' is not a domain: Bad address: the domain is malformed"),
        ([*NEW, "--provider", "none"], 1, "there is no provider 'none' that this account may use"),
        ([*NEW, *SMTP[:1], "h"], 2, "--smtp 'h': expected HOST:PORT with a port from 1 to 65535"),
        ([*NEW, *SMTP, "--username", "-"], 1, USERNAME),
        ([*NEW, *SMTP, "--smtp-password-file", "/none"], 2, "--smtp-password-file /none: No such file or directory"),
        (
            ["account", "create", "X Y", "--domain", "a.b", *SMTP],
            1,
            "an account name has small letters, digits and dashes, 63 at most",
        ),
        (["account", "disable", "none"], 1, "there is no enabled account 'none'; `account list` shows those there are"),
        (["credential", "create", "none"], 1, NO_ACCOUNT),
        (
            ["credential", "revoke", "none"],
            1,
            "there is no valid credential 'none'; `credential list` shows those there are",
        ),
        (["account", "enable", "none"], 1, "there is no disabled account 'none'; `account list` shows those there are"),
        (["account", "set", "none", "--check-from"], 1, NO_ACCOUNT),
        (["account", "show", "none"], 1, NO_ACCOUNT),
        (["account", "delete", "none"], 1, NO_ACCOUNT),
        (["credential", "list", "none"], 1, NO_ACCOUNT),
        (["suppression", "add", "none", "a@b.example"], 1, NO_ACCOUNT),
        (
            ["suppression", "add", "none", "nobody"],
            1,
            "'nobody' is not an address: Bad address: an address needs a local part, @ and a domain",
        ),
        (["suppression", "add", "none"], 2, "suppression add: give an address, or --file with one a line"),
        (
            ["credential", "create", "none", "--no-password"],
            2,
            "--no-password needs --certificate-name: nothing else would sign in",
        ),
        (
            ["credential", "create", "none", "--password-file", "/none"],
            2,
            "--password-file /none: No such file or directory",
        ),
        (
            ["account", "set", "none", "--max-sessions", "0"],
            2,
            "--max-sessions 0: needs a number from 1 to 1000000; --no-max-sessions takes the limit away",
        ),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(run: Run, arguments: list[str], code: int, says: str) -> None:
    failed = run(*arguments)
    assert (failed.returncode, failed.stdout, failed.stderr) == (code, "", f"error: {says}\n")
    assert run("account", "list", "--json").stdout == "[]\n"


def test_a_taken_name_is_refused(run: Run) -> None:
    create = ("account", "create", "shop", "--domain", "a.b", "--smtp", "h:25", "--username")
    assert run(*create, "one").returncode == 0
    assert run(*create, "two").stderr == (
        "error: an account of this name exists; choose another, or use `credential create`\n"
    )
    assert run("credential", "create", "shop", "--username", "one").stderr == (
        "error: this user name is taken; user names are unique over all accounts\n"
    )


def test_a_wrong_environment_is_told_key_by_key(run: Run) -> None:
    failed = run("account", "list", DATABASE_URL="postgresql://u:pass@h/d", DATABASE_POOL_MAX="0")
    assert (failed.returncode, failed.stdout) == (78, "")
    assert failed.stderr == (
        "error: DATABASE_URL: Value error, must not hold a password; use a password file (PGPASSFILE) or"
        " DATABASE_IAM_AUTH=true\nDATABASE_POOL_MAX: Input should be greater than or equal to 1\n"
    )


def test_a_provider_gets_other_settings_and_a_new_version(run: Run, database_url: str, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("one")
    create = ("account", "create", "shop", "--domain", "a.b", "--smtp", "old.example:25")
    assert run(*create, "--smtp-user", "u", "--smtp-password-file", str(password)).returncode == 0
    changed = run("account", "provider", "shop", "--smtp", "new.example:587")
    assert (changed.returncode, changed.stdout) == (0, "Account shop now delivers through new.example:587.\n")
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT config, secret, version FROM provider").fetchall()
    assert rows == [({"host": "new.example", "port": 587, "tls": "starttls"}, None, 2)]
    assert run("account", "provider", "none", "--smtp", "h:25").stderr == (
        "error: there is no account 'none'; `account list` shows those there are\n"
    )


@pytest.mark.parametrize("arguments", [("account", "list"), ("migrate", "current")])
def test_a_database_that_is_away_is_said(run: Run, arguments: tuple[str, ...]) -> None:
    failed = run(*arguments, DATABASE_URL="postgresql://u@127.0.0.1:9/d", DATABASE_ACQUIRE_TIMEOUT_SECONDS="1")
    assert (failed.returncode, failed.stdout) == (69, "")
    assert "error: PostgreSQL: " in failed.stderr
