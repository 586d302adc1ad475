"""The schema goes up, down, and up again, and is the same each time."""

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from backing.postgres import migrate

ROOT = Path(__file__).parents[2]
REVISIONS = sorted(path.name[:4] for path in (ROOT / "backing/migrations/versions").glob("*.up.sql"))
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


def test_two_migrations_at_once_take_turns(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.downgrade(migrate.Target(database_url), "base")
    command = [sys.executable, "-m", "backing", "migrate", "up"]
    monkeypatch.setenv("DATABASE_URL", database_url)
    both = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate(timeout=60)[0] for process in both] == [f"The schema is at {REVISIONS[-1]}.\n"] * 3
    assert [process.returncode for process in both] == [0, 0, 0]


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
