"""Sign in to a test's database as the product's services do: with roles of their own."""

import os
import secrets
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from backing.postgres import roles


def as_role(database_url: str, role: str, folder: Path, patch: pytest.MonkeyPatch) -> str:
    """Make the roles as `prepare` does; give one's URL, with its password where PGPASSFILE is now."""
    password = secrets.token_hex(16)
    with psycopg.connect(database_url, autocommit=True) as connection:
        roles.prepare(connection)
        connection.execute(f"ALTER ROLE {role} PASSWORD '{password}'".encode())
    file = folder / f"pgpass-{role}"
    owners = Path(os.environ["PGPASSFILE"]).read_text()  # noqa: TID251 - the tests set it
    file.write_text(f"*:*:*:{role}:{password}\n{owners}")
    file.chmod(0o600)
    patch.setenv("PGPASSFILE", str(file))
    parts = urlsplit(database_url)
    return parts._replace(netloc=f"{role}@{parts.hostname}:{parts.port}").geturl()
