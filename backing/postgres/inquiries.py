"""Questions to workers about providers, as PostgreSQL keeps them: taken, answered, each by one worker at a time."""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from backing.postgres.pool import Database
from backing.postgres.routing import ProviderRow
from backing.postgres.sql import statements
from backing.secrets import Sealed
from mail.inquiries import Verdict

SQL = statements(__file__)

# Longer than an answer may take, so that only a worker that died loses one.
LEASE_SECONDS: Final = 60.0
# How long a test waits for a worker; later it would come as a surprise.
PATIENCE_SECONDS: Final = 120.0
# Workers that may die of a question before it is given up.
MOST_TRIES: Final = 3
_WORDS: Final = {
    "late": f"No worker took it within {PATIENCE_SECONDS:.0f} s, so nothing was tried. See that workers run, then ask "
    "again.",
    "unknown": "The worker that made the test ended in its midst: the mail may have been sent. Look whether it came "
    "before asking again.",
    "lost": f"{MOST_TRIES} workers ended while they were at it. Look for the reason in their log, by the id of this.",
}


@dataclass(frozen=True, slots=True)
class EndpointSecrets:
    """The sealed secrets of a webhook endpoint."""

    id: UUID
    secret: bytes
    previous: bytes | None


@dataclass(frozen=True, slots=True)
class Inquiry:
    """A question that a worker has taken.

    Attributes:
        attempt: fences: an answer of another one counts no more.
        account_id: whose provider it is about; None for one that all share.
        arguments: of a test mail, `to` and `from`.
        subject: what it is about; None where that is gone.
    """

    id: UUID
    attempt: int
    kind: str
    account_id: UUID | None
    arguments: dict[str, str]
    subject: ProviderRow | EndpointSecrets | None


class Inquiries:
    """Questions, as workers see them.

    Every method raises `Unavailable` when the database does not answer.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def take(self, most: int) -> list[Inquiry]:
        """Lease questions for `LEASE_SECONDS`; those that nobody can answer any more are answered on the way."""
        values = {
            **_WORDS,
            "most": most,
            "most_tries": MOST_TRIES,
            "patience": PATIENCE_SECONDS,
            "lease": LEASE_SECONDS,
        }
        async with self._database.transaction() as connection:
            await connection.execute(SQL["settle"], values)
            rows = await (await connection.execute(SQL["take"], values)).fetchall()
        return [_inquiry(row) for row in rows]

    async def record(self, inquiry: Inquiry, verdict: Verdict) -> bool:
        """Write an answer down; False where the lease was lost meanwhile."""
        values = {
            "id": inquiry.id,
            "attempt": inquiry.attempt,
            "state": verdict.state,
            "outcome": Jsonb(verdict.document()),
        }
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["record"], values)).rowcount > 0

    async def put_provider_secret(self, inquiry: Inquiry, old: bytes, sealed: Sealed) -> bool:
        """Let a provider's sealed secret take the place of another; False where that is not there any more."""
        values: dict[str, Any] = {"id": _id(inquiry), "account_id": inquiry.account_id, "old": old}
        values |= {"sealed": sealed.octets, "key": sealed.key}
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["put_provider_secret"], values)).rowcount > 0

    async def put_endpoint_secrets(
        self, inquiry: Inquiry, old: EndpointSecrets, sealed: Sealed, previous: Sealed | None
    ) -> bool:
        """Let the secrets of an endpoint take the place of others; False where the first has another one by now."""
        values = {
            "id": old.id,
            "account_id": inquiry.account_id,
            "old": old.secret,
            "sealed": sealed.octets,
            "key": sealed.key,
            "old_previous": old.previous,
            "sealed_previous": previous.octets if previous else None,
        }
        async with self._database.statement() as connection:
            row = await (await connection.execute(SQL["put_endpoint_secrets"], values)).fetchone()
        return bool(row and row[0])


def _inquiry(row: tuple[Any, ...]) -> Inquiry:
    inquiry_id, attempt, kind, account_id, arguments, endpoint_id, *rest = row
    *provider, secret, previous = rest
    subject: ProviderRow | EndpointSecrets | None = None
    if secret is not None:
        subject = EndpointSecrets(endpoint_id, bytes(secret), None if previous is None else bytes(previous))
    elif provider[0] is not None:
        subject = _provider(*provider)
    return Inquiry(inquiry_id, attempt, kind, account_id, arguments, subject)


def _provider(*row: Any) -> ProviderRow:
    *facts, domains = row
    names = ("id", "name", "kind", "config", "secret", "version", "enabled", "limits")
    known = dict(zip(names, facts, strict=True))
    return ProviderRow(**known, allowed_domains=None if domains is None else tuple(domains))


def _id(inquiry: Inquiry) -> UUID | None:
    return inquiry.subject.id if inquiry.subject else None
