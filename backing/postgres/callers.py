"""Providers that call to tell of their events, and the keys by which their calls are known."""

import json
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from backing.postgres.pool import Database
from backing.postgres.routing import SQL
from backing.secrets import Vault

# In the secret of a provider, which is then a JSON object: see the worker's reading of it.
EVENT_KEY: Final = "event_key"
_REMEMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class EventCaller:
    """A provider that calls.

    Attributes:
        key: what its calls are checked with; empty where there is none.
        account: name of the one that it is of; None where it is shared.
    """

    id: UUID
    kind: str
    key: str = field(repr=False)
    name: str
    account: str | None


class EventCallers:
    """Finds them; a secret is opened once for each version of its provider.

    Args:
        database: where they are.
        vault: opens their secrets.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault
        self._opened: OrderedDict[tuple[UUID, int], str] = OrderedDict()

    async def find(self, provider_id: UUID) -> EventCaller | None:
        """Give the provider with an id, or None.

        Raises:
            BadSecret: its secret does not open.
            Unavailable: the database or KMS did not answer.
        """
        async with self._database.transaction() as connection:
            row = await (await connection.execute(SQL["telling_provider"], {"id": provider_id})).fetchone()
        if row is None:
            return None
        found, kind, version, sealed, name, account = row
        if (found, version) not in self._opened:
            self._opened[(found, version)] = _event_key(await self._vault.open(found, bytes(sealed))) if sealed else ""
            if len(self._opened) > _REMEMBERED:
                self._opened.popitem(last=False)
        return EventCaller(found, kind, self._opened[(found, version)], name, account)


def _event_key(secret: str) -> str:
    try:
        document: Any = json.loads(secret)
    except (ValueError, RecursionError):
        return ""
    found = document.get(EVENT_KEY) if isinstance(document, dict) else None
    return found if isinstance(found, str) else ""
