"""The schema goes up, down, and up again, and is the same each time."""

import contextlib
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import psycopg
import pytest

from backing.__main__ import main
from backing.postgres import accounts, deliveries, events, migrate, outbox, retention, routing, stories, suppressions

ROOT = Path(__file__).parents[2]
REVISIONS = sorted(path.name[:4] for path in (ROOT / "backing/migrations/versions").glob("*.up.sql"))
MODULES = {
    module.__name__.rpartition(".")[2]: module.SQL
    for module in (accounts, deliveries, events, outbox, retention, routing, suppressions)
}
PARAMETER = re.compile(r"%\((\w+)\)s")
SCHEMA = """
SELECT 'column', table_name, column_name, data_type, is_nullable, column_default FROM information_schema.columns
WHERE table_schema = 'public'
UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '' FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
ORDER BY 1, 2, 3
"""


def schema(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(SCHEMA).fetchall()


@pytest.mark.requirement("CORE-DB-001")
def test_every_migration_goes_down_and_up_again_to_the_same_schema(database_url: str) -> None:
    target, whole = migrate.Target(database_url), schema(database_url)
    tables = {row[1] for row in whole}
    assert tables >= {
        "account",
        "provider",
        "credential",
        "routing_rule",
        "message",
        "recipient",
        "delivery",
        "attempt",
        "suppression",
    }

    seen = [migrate.current(target)]
    while seen[-1] != "base":
        before = schema(database_url)
        seen.append(migrate.downgrade(target, "-1"))
        below = schema(database_url)
        migrate.upgrade(target, "+1")
        assert schema(database_url) == before
        migrate.downgrade(target, "-1")
        assert schema(database_url) == below
    assert seen == [*reversed(REVISIONS), "base"]
    assert {row[1] for row in schema(database_url)} == {"alembic_version"}

    assert migrate.upgrade(target) == REVISIONS[-1]
    assert schema(database_url) == whole


def test_the_release_before_works_on_after_the_schema_has_gone_ahead(database_url: str) -> None:
    """While a release rolls out, relays and workers of the one before ask what they always asked."""
    target = migrate.Target(database_url)
    migrate.downgrade(target, "0009")
    before, asked = schema(database_url), understood(database_url)
    assert {name.partition(".")[0] for name in asked} == {*MODULES}
    assert len(asked) > 60
    migrate.upgrade(target, "0010")
    assert set(before) <= set(schema(database_url))
    # What the release before could not ask is new in this one.
    assert set(understood(database_url)) ^ set(asked) == {"retention.forget_changes", "retention.forget_submissions"}
    with psycopg.connect(database_url, autocommit=True) as connection:
        # What is new asks nothing of rows that the release before writes.
        keys = connection.execute(
            "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
            " AND conrelid::regclass::text = ANY (%s)",
            (["api_key", "api_submission", "audit_log"],),
        ).fetchall()
    assert keys == [("api_key", "account")]


def test_columns_of_credentials_leave_earlier_statements_as_they_were(database_url: str) -> None:
    """A name that two joined tables have is a fault where a statement names it without its table."""
    target, modules = migrate.Target(database_url), MODULES | {"stories": {"story": stories.SQL["story"]}}
    migrate.downgrade(target, "0015")
    before = understood(database_url, modules)
    assert "stories.story" in before
    migrate.upgrade(target)
    assert set(before) <= set(understood(database_url, modules))


def understood(url: str, modules: Mapping[str, Mapping[str, str]] = MODULES) -> list[str]:
    """The statements of relays and workers that PostgreSQL can carry out with this schema."""
    found = []
    with psycopg.connect(url, autocommit=True) as connection:
        for name, text in modules.items():
            for each, statement in text.items():
                names = list(dict.fromkeys(PARAMETER.findall(statement)))
                numbered = statement
                for n, parameter in enumerate(names, 1):
                    numbered = numbered.replace(f"%({parameter})s", f"${n}")
                with contextlib.suppress(
                    psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.AmbiguousColumn
                ):
                    connection.execute(f"PREPARE asked AS {numbered.replace('%%', '%')}".encode())
                    connection.execute("DEALLOCATE asked")
                    found.append(f"{name}.{each}")
    return found


def test_two_migrations_at_once_take_turns(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.downgrade(migrate.Target(database_url), "base")
    command = [sys.executable, "-m", "backing", "migrate", "up"]
    monkeypatch.setenv("DATABASE_URL", database_url)
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in both] == [f"The schema is at {REVISIONS[-1]}.\n"] * 3
    assert [process.returncode for process in both] == [0, 0, 0]


def test_a_schema_that_is_ahead_is_not_migrated_by_hand(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9000'")
    monkeypatch.setenv("DATABASE_URL", database_url)
    assert main(["migrate", "up"]) == 1
    assert capsys.readouterr().err == (
        "error: the schema cannot be migrated: Can't locate revision identified by '9000'. This release knows the "
        f"revisions up to {REVISIONS[-1]}; migrate with the release that has the one that was named\n"
    )


@pytest.mark.requirement("CORE-DB-001")
def test_the_schema_refuses_what_no_code_should_write(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement in (
            b"INSERT INTO account (id, name, allowed_domains) VALUES (gen_random_uuid(), 'Not A Name', '{}')",
            b"INSERT INTO provider (id, name, kind) VALUES (gen_random_uuid(), 'p', 'pigeon')",
            b"INSERT INTO delivery (id, message_id, account_id) SELECT x, x, x FROM gen_random_uuid() x",
        ):
            with pytest.raises(psycopg.errors.IntegrityError):
                connection.execute(statement)


def test_times_that_cannot_be_read_are_mended(database_url: str) -> None:
    target = migrate.Target(database_url)
    migrate.downgrade(target, "0013")
    ends = {
        "far": ("9999-12-31 23:59:59-14", "9000-01-01 00:00+00"),
        "past": ("0001-01-01 00:00+14", "1970-01-01 00:00+00"),
        "fit": ("2030-01-01 00:00+00", "2030-01-01 00:00+00"),
        "none": (None, None),
    }
    key = (
        b"INSERT INTO api_key (id, name, prefix, digest, scopes, expires_at)"
        b" SELECT gen_random_uuid(), %(name)s, 'aaaaaaaaaaa' || chr(97 + %(n)s), sha256(''), '{x}', %(end)s"
    )
    suppression = (
        b"INSERT INTO suppression (account_id, address, reason, source, expires_at)"
        b" SELECT id, %(name)s || '@b.example', 'manual', 'operator', %(end)s FROM account"
    )
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO account (id, name, allowed_domains) VALUES (gen_random_uuid(), 'shop', '{}')")
        for statement in (key, suppression):
            for n, (name, (end, _)) in enumerate(ends.items()):
                connection.execute(statement, {"n": n, "name": name, "end": end})
    migrate.upgrade(target)
    with psycopg.connect(database_url, autocommit=True) as connection:
        keys = connection.execute("SELECT name, expires_at FROM api_key").fetchall()
        lists = connection.execute("SELECT split_part(address, '@', 1), expires_at FROM suppression").fetchall()
    wanted = {name: datetime.fromisoformat(f"{end}:00") if end else None for name, (_, end) in ends.items()}
    assert dict(keys) == dict(lists) == wanted
