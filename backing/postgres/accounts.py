"""Accounts, credentials and providers in PostgreSQL."""

from backing.postgres.pool import Database
from backing.postgres.sql import statements
from mail.accounts import Account, Credential

SQL = statements(__file__)


async def find_credential(database: Database, username: str) -> Credential | None:
    """Give the credential that signs in under a name, or None; a revoked one or a disabled account is none.

    Raises:
        Unavailable: the database did not answer, so nothing is known about the credential.
    """
    async with database.transaction() as connection:
        cursor = await connection.execute(SQL["find_credential"], {"username": username})
        row = await cursor.fetchone()
    if row is None:
        return None
    credential_id, name, digest, account_id, account_name, domains = row
    account = Account(account_id, account_name, frozenset(domains))
    return Credential(credential_id, name, bytes(digest), account)
