"""`prepare`: what a release needs before its services start. It may be repeated, and run several times at once."""

import asyncio
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow
from pydantic import Field

from backing.aws import Aws
from backing.postgres import migrate, roles
from backing.postgres.pool import sign_in
from backing.secrets import BadSecret, put_first, secret_text
from backing.settings import CredentialKeySettings, read
from mail.errors import Unavailable

# One number for the whole product, another than that of migrations, which take theirs meanwhile.
_ADVISORY_LOCK: Final = 7_305_811_205
_AGAIN_SECONDS: Final = 2.0
_KEY_BYTES: Final = 32
# By whether the schema is ahead of this release.
_STANDS: Final = {
    False: "The schema is at {revision}.",
    True: "The schema is ahead of this release, at {revision}; nothing to migrate.",
}
_MAY: Final = {
    False: "what each may do is up to date",
    True: "each may do what this release needs, and keeps what a later one has given it",
}


class PrepareSettings(CredentialKeySettings):
    """What `prepare` reads from its environment."""

    database_master_secret: str = Field(
        default="",
        description="Secrets Manager id of the owner's user name and password, as RDS keeps them; TLS is demanded. "
        "Empty: sign in as DATABASE_URL says.",
    )
    database_instance: str = Field(
        default="",
        description="RDS instance that gets a master password from here, where DATABASE_MASTER_SECRET has no value "
        "yet; only for one whose password RDS does not manage, as with read replicas.",
    )
    prepare_wait_seconds: float = Field(
        default=300.0, ge=0, le=3600, description="Longest wait for a database that does not take connections yet."
    )


def run() -> str:
    """Bring the schema and the roles up to date, and make the credential key where there is none.

    A schema that a later release has migrated stays as it is, so that code can be taken back without it.
    """
    settings = read(PrepareSettings)
    owner = _Owner(settings)
    with _alone(settings, owner) as connection:
        schema = migrate.keep_up(migrate.Target(settings.database_url, owner.options))
        try:
            made = roles.prepare(connection, take=not schema.ahead)
        except psycopg.errors.UndefinedTable as error:
            raise migrate.WrongSchema(
                f"the schema is at {schema.revision} and lacks what this release needs: {error.diag.message_primary}. "
                "Go back to a release that is not so old, or restore the database"
            ) from None
        key_made = asyncio.run(_credential_key(settings))
    return "\n".join(
        (
            _STANDS[schema.ahead].format(revision=schema.revision),
            f"Roles made: {', '.join(made) or 'none, all were there'}; {_MAY[schema.ahead]}.",
            f"The credential key in {settings.credential_key_secret} "
            + ("was made." if key_made else "was there, and stays."),
        )
    )


class _Owner:
    """How the owner of the tables signs in.

    Attributes:
        options: as psycopg takes them, with the password of now.
    """

    def __init__(self, settings: PrepareSettings) -> None:
        self.options: dict[str, Any] = {}
        self._settings = settings
        self._aws = Aws(settings.aws_region)
        self._told_rds = False

    def refresh(self) -> None:
        """Take the password of now: RDS may have changed it since.

        Raises:
            BadSecret: the secret is not what RDS would write.
            Unavailable: Secrets Manager did not answer.
        """
        # A migration may rewrite a table; only its wait for locks is bounded.
        self.options = asyncio.run(sign_in(self._settings, self._aws)) | {"options": ""}
        if self._settings.database_master_secret:
            self.options |= asyncio.run(self._secret()) | {"sslmode": "verify-full"}

    def refused(self) -> None:
        """Have RDS set the password, once, where that is ours to do.

        Raises:
            Unavailable: RDS cannot do it now.
        """
        if self._settings.database_instance and not self._told_rds:
            asyncio.run(self._aws.set_master_password(self._settings.database_instance, self.options["password"]))
            self._told_rds = True

    async def _secret(self) -> dict[str, str]:
        name = self._settings.database_master_secret
        async with self._aws.secrets() as client:
            if self._settings.database_instance:
                user = str(conninfo_to_dict(self._settings.database_url).get("user", ""))
                new = {"username": user, "password": secrets.token_urlsafe(_KEY_BYTES)}
                await put_first(client, name, json.dumps(new))
            text = await secret_text(client, name)
        if text is None:
            raise BadSecret(f"secret {name} has no value; RDS writes it, or set DATABASE_INSTANCE to have it made")
        try:
            found = json.loads(text)
            return {"user": str(found["username"]), "password": str(found["password"])}
        except (ValueError, KeyError, TypeError):
            raise BadSecret(f"secret {name} is no JSON object with username and password") from None


@contextmanager
def _alone(settings: PrepareSettings, owner: _Owner) -> Iterator[psycopg.Connection[TupleRow]]:
    """Connect as the owner, and let no other `prepare` run until the block ends."""
    try:
        with _reached(settings, owner) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_ADVISORY_LOCK,))
            yield connection
    except psycopg.OperationalError as fault:
        raise Unavailable(f"PostgreSQL: {fault}") from fault


def _reached(settings: PrepareSettings, owner: _Owner) -> psycopg.Connection[TupleRow]:
    """Connect; a database that starts, or gets another password meanwhile, is waited for.

    Raises:
        Unavailable: it did not take the connection in time.
    """
    until = time.monotonic() + settings.prepare_wait_seconds
    while True:
        try:
            owner.refresh()
            return _connected(settings, owner)
        except Unavailable:
            if time.monotonic() >= until:
                raise
        time.sleep(_AGAIN_SECONDS)


def _connected(settings: PrepareSettings, owner: _Owner) -> psycopg.Connection[TupleRow]:
    try:
        return psycopg.connect(settings.database_url, autocommit=True, **owner.options)
    except psycopg.OperationalError as fault:
        if "password authentication failed" in str(fault):
            owner.refused()
        raise Unavailable(f"PostgreSQL: {fault}") from fault


async def _credential_key(settings: PrepareSettings) -> bool:
    async with Aws(settings.aws_region).secrets() as client:
        return await put_first(client, settings.credential_key_secret, secrets.token_urlsafe(_KEY_BYTES))
