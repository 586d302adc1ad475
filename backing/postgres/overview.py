"""How an account's mail stands, in numbers."""

from datetime import datetime
from uuid import UUID

from backing.postgres.pool import Connection
from backing.postgres.sql import statements
from mail.states import State

SQL = statements(__file__)


async def counted(connection: Connection, account_id: UUID, since: datetime) -> dict[State, int]:
    """Count recipients of the messages that were accepted since, by how they stand, in the order of states."""
    cursor = await connection.execute(SQL["counted"], {"account_id": account_id, "since": since})
    found = {State(state): count for state, count in await cursor.fetchall()}
    return {state: found[state] for state in State if state in found}
