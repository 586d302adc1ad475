"""Schema migrations: Alembic keeps the order, the statements are plain SQL beside each version."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from alembic import command, op
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from mail.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Target:
    """The database to migrate, and how to sign in to it."""

    address: str
    options: dict[str, Any] = field(default_factory=dict, repr=False)


class WrongSchema(Exception):  # noqa: N818 - a fact about a database
    """The schema is not one that can be worked with; says at which revision it is, and what to do."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the schema stands.

    Attributes:
        ahead: a later release made it what it is.
    """

    revision: str
    ahead: bool


Action = Callable[[Config], None]

MIGRATIONS = Path(__file__).parents[1] / "migrations"
# One number for the whole product: two tasks that migrate at once take turns.
_ADVISORY_LOCK = 7_305_811_204
# A migration that waits for a lock longer than this gives up, before the queries behind it pile up.
_LOCK_TIMEOUT = "5s"
_NUMBER = re.compile(r"[0-9]{4}")


def run_sql(version_file: str, direction: str) -> None:
    """Execute the `.up.sql` or `.down.sql` that stands beside a version file."""
    op.execute(text(Path(version_file).with_suffix(f".{direction}.sql").read_text("utf-8").replace(":", r"\:")))


def upgrade(target: Target, revision: str = "head") -> str:
    """Bring the schema up to a revision; give the revision it is at."""
    return _run(target, lambda config: command.upgrade(config, revision))


def keep_up(target: Target) -> Standing:
    """Bring the schema up to this release, or leave it where a later one has brought it.

    Changes expand first and contract a release later, so code may go back while the schema stays.

    Raises:
        WrongSchema: it is at a revision that is neither of this release nor of a later one.
    """
    ahead: list[bool] = []

    def act(config: Config) -> None:
        connection: Connection = config.attributes["connection"]
        ahead.append(_is_later(_revision(connection), ScriptDirectory.from_config(config)))
        # Alembic commits only what it began itself.
        connection.rollback()
        if not ahead[0]:
            command.upgrade(config, "head")

    revision = _run(target, act)
    return Standing(revision, ahead[0])


def downgrade(target: Target, revision: str) -> str:
    """Take the schema back to a revision, `base` being none; give the revision it is at."""
    return _run(target, lambda config: command.downgrade(config, revision))


def current(target: Target) -> str:
    """The revision that the schema is at."""
    return _run(target, lambda _: None)


def _run(target: Target, action: Action) -> str:
    engine = create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(target.address, **target.options), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _ADVISORY_LOCK})
            connection.execute(text(f"SET lock_timeout = '{_LOCK_TIMEOUT}'"))
            connection.commit()
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            action(config)
            return _revision(connection)
    except (OperationalError, psycopg.OperationalError) as fault:
        raise Unavailable(f"PostgreSQL: {fault}") from fault
    except CommandError as error:
        raise WrongSchema(
            f"the schema cannot be migrated: {error}. This release knows the revisions up to {_head()}; "
            "migrate with the release that has the one that was named"
        ) from None


def _head() -> str:
    return str(ScriptDirectory(str(MIGRATIONS)).get_current_head())


def _is_later(revision: str, known: ScriptDirectory) -> bool:
    """Tell whether a revision comes after all that are known: they are numbered, and another text is no later one."""
    revisions = {script.revision for script in known.walk_revisions()}
    return revision not in revisions and bool(_NUMBER.fullmatch(revision)) and revision > max(revisions)


def _revision(connection: Connection) -> str:
    return MigrationContext.configure(connection).get_current_revision() or "base"
