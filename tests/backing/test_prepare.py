"""`prepare` before a release: against a real PostgreSQL behind TLS, owned as on RDS, and AWS APIs."""

import itertools
import json
import ssl
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
import structlog
import trustme
from moto.core import DEFAULT_ACCOUNT_ID  # type: ignore[attr-defined]  # moto names no exports
from moto.rds.models import rds_backends

from backing.__main__ import main
from backing.postgres import migrate, roles
from tests.backing.tls_front import tls_front
from tests.conftest import free_port
from tests.postgres import Postgres, postgres_server
from tests.waiting import wait_until

REGION = "eu-central-1"
ROOT = Path(__file__).parents[2]
OWNER, PASSWORD = "postgres_admin", "a / b @ c"
REVISIONS = sorted(path.name[:4] for path in (ROOT / "backing/migrations/versions").glob("*.up.sql"))
_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    """A server of this module's own: roles belong to all of a server's databases."""
    with postgres_server(tmp_path_factory.mktemp("server"), free_port()) as started:
        with psycopg.connect(started.full_url, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'".encode())
            connection.execute("CREATE ROLE rds_iam")
            connection.execute(f"GRANT rds_iam TO {OWNER} WITH ADMIN OPTION".encode())
        yield started


@dataclass(frozen=True, slots=True)
class Stage:
    """An empty database and two secrets, of which the credential key has no value yet."""

    database: str
    server: Postgres
    port: int
    authority: Path
    moto: str
    master: str
    key: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.moto,
            "AWS_REGION": REGION,
            "DATABASE_URL": f"postgresql://{OWNER}@localhost:{self.port}/{self.database}?sslrootcert={self.authority}",
            "DATABASE_MASTER_SECRET": self.master,
            "CREDENTIAL_KEY_SECRET": self.key,
            "PREPARE_WAIT_SECONDS": "20",
        }

    def client(self, service: str) -> Any:
        boto: Any = boto3  # its types know services by literal names only
        return boto.client(service, endpoint_url=self.moto, region_name=REGION)

    def value(self, name: str) -> str:
        return str(self.client("secretsmanager").get_secret_value(SecretId=name)["SecretString"])

    def claim(self, revision: str) -> None:
        """Have the schema say that it is at a revision."""
        url = self.server.full_url.rpartition("/")[0]
        with psycopg.connect(f"{url}/{self.database}", autocommit=True) as connection:
            connection.execute("UPDATE alembic_version SET version_num = %s", (revision,))

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        url = self.server.full_url.rpartition("/")[0]
        with psycopg.connect(f"{url}/{self.database}", autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def front(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    authority, file = trustme.CA(), tmp_path_factory.mktemp("authority") / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with tls_front(context, int(server.url.rpartition(":")[2])) as port:
        yield port, file


@pytest.fixture
def stage(server: Postgres, front: tuple[int, Path], moto_url: str) -> Iterator[Stage]:
    name, mark = f"prepared_{next(_numbers)}", uuid.uuid1()
    made = Stage(name, server, *front, moto_url, f"master-{mark}", f"key-{mark}")
    manager = made.client("secretsmanager")
    manager.create_secret(Name=made.master)
    manager.create_secret(Name=made.key)
    with psycopg.connect(server.full_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER {OWNER}".encode())
        yield made
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
        for role in roles.GRANTS:
            connection.execute(f"DROP ROLE IF EXISTS {role}".encode())


@pytest.fixture
def managed(stage: Stage) -> Stage:
    """As RDS leaves it where it manages the password."""
    value = json.dumps({"username": OWNER, "password": PASSWORD})
    stage.client("secretsmanager").put_secret_value(SecretId=stage.master, SecretString=value)
    return stage


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    def command(stage: Stage, **changes: str) -> tuple[int, str, str]:
        for name, value in (stage.environment | changes).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(["prepare"])
        return code, *capsys.readouterr()

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield command
    structlog.reset_defaults()


def said(key: str, *, made: bool) -> str:
    return (
        f"The schema is at {REVISIONS[-1]}.\n"
        f"Roles made: {'relay, worker, web' if made else 'none, all were there'}; what each may do is up to date.\n"
        f"The credential key in {key} {'was made' if made else 'was there, and stays'}.\n"
    )


@pytest.mark.requirement("CORE-DB-001")
@pytest.mark.requirement("ECS-010")
def test_the_first_release_and_every_further_one(managed: Stage, run: Run) -> None:
    assert run(managed) == (0, said(managed.key, made=True), "")
    key = managed.value(managed.key)
    assert len(key) == 43

    assert run(managed) == (0, said(managed.key, made=False), "")
    assert managed.value(managed.key) == key
    assert managed.ask("SELECT tableowner FROM pg_tables WHERE schemaname = 'public' GROUP BY 1") == [(OWNER,)]
    assert managed.ask(
        "SELECT rolname, rolcanlogin, rolsuper, rolcreaterole, pg_has_role(rolname, 'rds_iam', 'MEMBER') FROM pg_roles"
        " WHERE rolname IN ('relay', 'worker', 'web') ORDER BY 1"
    ) == [(role, True, False, False, True) for role in ("relay", "web", "worker")]


GRANTED = """
SELECT grantee, table_name, privilege_type FROM information_schema.role_table_grants
WHERE grantee IN ('relay', 'worker', 'web') AND table_name IN ('account', 'novelty') ORDER BY 1, 2, 3
"""


@pytest.mark.requirement("CORE-DB-001")
def test_code_goes_back_and_the_schema_of_the_later_release_stays(managed: Stage, run: Run) -> None:
    assert run(managed)[0] == 0
    later = f"{int(REVISIONS[-1]) + 2:04}"
    # What a later release would do: a new table, and more rights on one that was there.
    managed.claim(later)
    managed.ask(f"CREATE TABLE novelty (id int); ALTER TABLE novelty OWNER TO {OWNER}")
    managed.ask("GRANT SELECT ON novelty TO relay; GRANT UPDATE ON account TO relay")
    managed.ask("REVOKE DELETE ON account FROM web")
    words = (
        f"The schema is ahead of this release, at {later}; nothing to migrate.\n"
        "Roles made: none, all were there; each may do what this release needs, and keeps what a later one has "
        "given it.\n"
        f"The credential key in {managed.key} was there, and stays.\n"
    )
    assert run(managed) == (0, words, "")
    assert managed.ask("SELECT version_num FROM alembic_version") == [(later,)]
    assert managed.ask(GRANTED) == [
        ("relay", "account", "SELECT"),
        ("relay", "account", "UPDATE"),
        ("relay", "novelty", "SELECT"),
        *(("web", "account", verb) for verb in ("DELETE", "INSERT", "SELECT", "UPDATE")),
        ("worker", "account", "SELECT"),
    ]


def test_a_later_release_that_took_a_table_away_is_too_late(managed: Stage, run: Run) -> None:
    assert run(managed)[0] == 0
    managed.claim("9000")
    managed.ask("DROP TABLE webhook_delivery CASCADE")
    words = (
        'error: the schema is at 9000 and lacks what this release needs: relation "public.webhook_delivery" does not '
        "exist. Go back to a release that is not so old, or restore the database\n"
    )
    assert run(managed) == (1, "", words)


@pytest.mark.parametrize("revision", ["0000", "fe12", "99990", "later"])
def test_a_revision_that_is_no_later_one_stays_an_error(managed: Stage, run: Run, revision: str) -> None:
    assert run(managed)[0] == 0
    managed.claim(revision)
    code, out, err = run(managed)
    assert (code, out) == (1, "")
    assert err == (
        f"error: the schema cannot be migrated: Can't locate revision identified by '{revision}'. This release knows "
        f"the revisions up to {REVISIONS[-1]}; migrate with the release that has the one that was named\n"
    )


@pytest.mark.requirement("CORE-DB-001")
def test_several_at_once_take_turns_and_make_one_key(managed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in managed.environment.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "backing", "prepare"]
    started = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sorted(outputs) == sorted([said(managed.key, made=True), said(managed.key, made=False)])
    versions = managed.client("secretsmanager").list_secret_version_ids(SecretId=managed.key)["Versions"]
    assert [version["VersionStages"] for version in versions] == [["AWSCURRENT"]]


def test_a_key_that_an_operator_has_put_stays(managed: Stage, run: Run) -> None:
    managed.client("secretsmanager").put_secret_value(SecretId=managed.key, SecretString="an operator's own")
    code, out, _ = run(managed)
    assert (code, out.splitlines()[-1]) == (0, f"The credential key in {managed.key} was there, and stays.")
    assert managed.value(managed.key) == "an operator's own"


def test_where_rds_does_not_manage_the_password_it_is_made_here(stage: Stage, run: Run) -> None:
    instance = f"db-{uuid.uuid1()}"
    stage.client("rds").create_db_instance(
        DBInstanceIdentifier=instance,
        Engine="postgres",
        DBInstanceClass="db.t4g.medium",
        AllocatedStorage=20,
        MasterUsername=OWNER,
        MasterUserPassword="thrown-away",
    )
    known = vars(rds_backends[DEFAULT_ACCOUNT_ID][REGION].databases[instance])
    place = "_master_user_password"

    def rds() -> None:
        wait_until(lambda: known[place] != "thrown-away", 30, "nobody asked for another password")
        stage.ask(f"ALTER ROLE {OWNER} PASSWORD '{known[place]}'")

    thread = threading.Thread(target=rds)
    thread.start()
    try:
        assert run(stage, DATABASE_INSTANCE=instance) == (0, said(stage.key, made=True), "")
    finally:
        thread.join()
        stage.ask(f"ALTER ROLE {OWNER} PASSWORD '{PASSWORD}'")
    found = json.loads(stage.value(stage.master))
    assert found == {"username": OWNER, "password": known[place]}
    assert len(found["password"]) == 43


def test_a_server_that_is_not_who_it_should_be_gets_no_password(managed: Stage, run: Run, tmp_path: Path) -> None:
    stranger = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    url = managed.environment["DATABASE_URL"].partition("?")[0]
    code, out, err = run(managed, DATABASE_URL=f"{url}?sslrootcert={stranger}", PREPARE_WAIT_SECONDS="0")
    assert (code, out) == (69, "")
    assert "certificate verify failed" in err
    assert PASSWORD not in err


def test_a_database_without_tls_gets_no_password(managed: Stage, run: Run) -> None:
    url = f"{managed.server.url.replace(managed.server.url.partition('@')[0], f'postgresql://{OWNER}')}/x"
    code, _, err = run(managed, DATABASE_URL=f"{url}?sslrootcert={managed.authority}", PREPARE_WAIT_SECONDS="0")
    assert code == 69
    assert "server does not support SSL" in err


def test_a_database_that_does_not_come_up_is_waited_for_only_so_long(managed: Stage, run: Run) -> None:
    url = f"postgresql://{OWNER}@localhost:{free_port()}/x"
    code, out, err = run(managed, DATABASE_URL=url, PREPARE_WAIT_SECONDS="1")
    assert (code, out) == (69, "")
    assert "Connection refused" in err


@pytest.mark.parametrize("value", ["not JSON", '{"username": "x"}', "[]"])
def test_a_secret_that_is_none_of_rds(stage: Stage, run: Run, value: str) -> None:
    stage.client("secretsmanager").put_secret_value(SecretId=stage.master, SecretString=value)
    words = f"error: secret {stage.master} is no JSON object with username and password\n"
    assert run(stage) == (1, "", words)


def test_secrets_that_are_missing(stage: Stage, run: Run) -> None:
    words = f"error: secret {stage.master} has no value; RDS writes it, or set DATABASE_INSTANCE to have it made\n"
    assert run(stage) == (1, "", words)


def test_a_credential_key_whose_secret_nobody_made(managed: Stage, run: Run) -> None:
    code, out, err = run(managed, CREDENTIAL_KEY_SECRET="nowhere")
    assert (code, out) == (1, "")
    assert err == "error: there is no secret nowhere; make it, without a value, and try again\n"


def test_at_home_it_signs_in_as_the_address_says(stage: Stage, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSFILE", str(stage.server.password_file))
    code, _, err = run(stage, DATABASE_URL=f"{stage.server.url}/{stage.database}", DATABASE_MASTER_SECRET="")
    assert (code, err) == (0, "")
    url = f"{stage.server.full_url.rpartition('/')[0]}/{stage.database}"
    assert migrate.current(migrate.Target(url)) == REVISIONS[-1]
