"""What each role may do in a real PostgreSQL: what the statements of its service need, and no more."""

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psycopg
import pytest

from backing.aws import Aws
from backing.postgres import (
    accounts,
    audit,
    deliveries,
    early,
    events,
    inquiries,
    keys,
    orders,
    outbox,
    overview,
    requests,
    retention,
    roles,
    routing,
    statistics,
    stories,
    submissions,
    suppressions,
)
from backing.postgres.accounts import Accounts
from backing.postgres.pool import Database
from backing.postgres.suppressions import Suppressions
from backing.settings import Settings
from tests.backing.mailbook import SHOP, Mailbook
from tests.conftest import REGION, database
from tests.roles import as_role

# The statements each service runs: all of a module's, or those named.
USES: dict[str, tuple[tuple[ModuleType, tuple[str, ...]], ...]] = {
    "relay": (
        (accounts, ("find_credential", "find_certified", "note_uses")),
        (suppressions, ("hashes", "later_hashes", "find")),
    ),
    "worker": (
        (audit, ("changed", "note")),
        (deliveries, ()),
        (early, ("take",)),
        (events, ()),
        (orders, ()),
        (inquiries, ("settle", "take", "record", "put_provider_secret", "put_endpoint_secrets")),
        (outbox, ("take", "record")),
        (retention, ()),
        (routing, ("load",)),
        (suppressions, ("add", "suppressed")),
    ),
    "web": (
        (accounts, tuple(accounts.SQL.keys() - {"note_uses"})),
        (audit, ()),
        (early, ()),
        (events, tuple(events.SQL.keys() - {"pending", "forget", "ses_providers"})),
        (inquiries, ("find_provider", "recent_tests", "ask_test", "show_test", "show_secret")),
        (inquiries, ("reseal_one", "reseal_providers", "reseal_endpoints")),
        (keys, ()),
        (orders, ()),
        (outbox, tuple(outbox.SQL.keys() - {"take", "record"})),
        (overview, ()),
        (requests, ()),
        (routing, ()),
        (statistics, tuple(statistics.SQL.keys() - {"as_one"})),
        (stories, ()),
        (submissions, ()),
        (suppressions, ()),
    ),
}
STATEMENTS = [
    (role, module.__name__.rpartition(".")[2], name)
    for role, used in USES.items()
    for module, names in used
    for name in sorted(names or module.SQL)
]


@pytest.fixture(scope="module")
def prepared(postgres_url: str) -> Iterator[str]:
    with database(postgres_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            roles.prepare(connection)
        yield url


@pytest.mark.parametrize(("role", "module", "name"), STATEMENTS)
def test_a_role_may_run_the_statements_of_its_service(prepared: str, role: str, module: str, name: str) -> None:
    statement = {each.__name__.rpartition(".")[2]: each for each, _ in USES[role]}[module].SQL[name]
    # PostgreSQL checks permissions when it prepares to run a plan, which it does to explain it, too.
    with psycopg.connect(prepared, prepare_threshold=None) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        connection.execute(f"EXPLAIN (GENERIC_PLAN) {_numbered(statement)}".encode())


def test_every_table_is_thought_of(prepared: str) -> None:
    with psycopg.connect(prepared) as connection:
        tables = {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}
        granted = connection.execute(
            "SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants"
            " WHERE grantee = ANY (%s) AND table_schema = 'public'",
            (list(roles.GRANTS),),
        ).fetchall()
    assert {table for given in roles.GRANTS.values() for table in given} == tables
    assert set(granted) == {
        (role, table, verb)
        for role, given in roles.GRANTS.items()
        for table, verbs in given.items()
        for verb in verbs.split(", ")
    }


def test_a_worker_changes_of_a_provider_how_its_secret_is_sealed_and_nothing_else(prepared: str) -> None:
    with psycopg.connect(prepared) as connection:
        granted = connection.execute(
            "SELECT grantee, table_name, column_name, privilege_type FROM information_schema.role_column_grants AS part"
            " WHERE grantee = ANY (%s) AND NOT EXISTS ("
            "    SELECT FROM information_schema.role_table_grants AS whole"
            "    WHERE (whole.grantee, whole.table_name, whole.privilege_type)"
            "        = (part.grantee, part.table_name, part.privilege_type))",
            (list(roles.GRANTS),),
        ).fetchall()
    assert set(granted) == {
        (role, table, column, "UPDATE")
        for role, tables in roles.COLUMNS.items()
        for table, columns in tables.items()
        for column in columns
    }


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("role", roles.GRANTS)
@pytest.mark.parametrize(
    "statement",
    [
        "DROP TABLE message",
        "TRUNCATE message",
        "ALTER TABLE message ADD COLUMN x text",
        "CREATE TABLE mine (x text)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (x text)",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE ROLE another",
        "SET ROLE smtp_proxy",
    ],
)
def test_no_role_changes_the_schema_or_who_it_is(database_url: str, role: str, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        roles.prepare(connection)
        connection.execute(f"SET SESSION AUTHORIZATION {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("relay", "SELECT FROM message"),
        ("relay", "SELECT FROM provider"),
        ("relay", "UPDATE credential SET digest = ''"),
        ("relay", "UPDATE credential_former SET until = now()"),
        ("web", "UPDATE credential_use SET last_used_at = now()"),
        ("worker", "SELECT FROM credential_use"),
        ("worker", "SELECT FROM credential"),
        ("worker", "UPDATE account SET name = 'x'"),
        ("worker", "UPDATE provider SET config = '{}'"),
        ("worker", "INSERT INTO inquiry (id, kind) VALUES (gen_random_uuid(), 'reseal')"),
        ("web", "UPDATE inquiry SET outcome = '{}'"),
        ("worker", "INSERT INTO webhook_endpoint (id) VALUES (gen_random_uuid())"),
        ("web", "DELETE FROM message"),
        ("web", "INSERT INTO message (id) VALUES (gen_random_uuid())"),
    ],
)
def test_a_role_keeps_to_its_own(prepared: str, role: str, statement: str) -> None:
    with psycopg.connect(prepared) as connection:
        connection.execute(f"SET ROLE {role}".encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())


def test_a_permission_that_is_needed_no_more_is_taken_back(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        roles.prepare(connection)
        connection.execute("GRANT DELETE ON message TO relay")
        roles.prepare(connection)
        row = connection.execute("SELECT has_table_privilege('relay', 'message', 'DELETE')").fetchone()
        assert row == (False,)


@pytest.mark.anyio
async def test_a_relay_signs_in_and_finds_what_it_needs(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = Mailbook(database_url)
    book.run(
        "INSERT INTO credential (id, account_id, username, digest) VALUES (gen_random_uuid(), %s, 'app', sha256(''))",
        SHOP,
    )
    url = as_role(database_url, "relay", tmp_path, monkeypatch)
    async with Database(Settings(database_url=url), Aws(REGION)).opened() as opened:
        found = await Accounts(opened)("app")
        assert found is not None
        assert found.account.id == SHOP
        hashes = await Suppressions(opened).hashes(SHOP, 10)
        assert list(hashes.values) == []
        assert await Suppressions(opened).later_hashes(SHOP, hashes.since, 10) is not None


def _numbered(statement: str) -> str:
    """Write a statement's parameters as PostgreSQL does."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        return f"${numbers.setdefault(found[1], len(numbers) + 1)}"

    return re.sub(r"%%|%\((\w+)\)s", number, statement).rstrip().removesuffix(";")
