"""Whether the schema is as new as this code needs it; Alembic itself is only in the image that migrates."""

from pathlib import Path
from typing import Final

from backing.postgres.pool import Database

_VERSIONS: Final = Path(__file__).parents[1] / "migrations" / "versions"
# Revisions are numbers of four digits, so that they compare as texts.
NEEDED: Final = max(file.name[:4] for file in _VERSIONS.glob("[0-9]*.py"))


async def migrated(database: Database) -> bool:
    """Whether the schema is at the revision that this code needs, or at a later one.

    Raises:
        Unavailable: the database did not answer.
    """
    async with database.transaction() as connection:
        cursor = await connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL")
        (begun,) = await cursor.fetchone() or (False,)
        if not begun:
            return False
        (revision,) = await (await connection.execute("SELECT version_num FROM alembic_version")).fetchone() or ("",)
    return str(revision) >= NEEDED
