"""Where the mail of an account goes, as PostgreSQL has it: rules, providers, the default provider."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from backing.postgres.pool import Connection, Database
from backing.postgres.sql import statements
from mail.routing.documents import parse_rule
from mail.routing.reading import BadRule
from mail.routing.rules import Match, Rule, Unreadable
from mail.routing.table import Table, compiled

SQL = statements(__file__)


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider as an operator configured it; the secret is sealed.

    Attributes:
        version: higher after every change.
        limits: how much may be given to it.
        allowed_domains: sender domains it sends for, or None for any.
    """

    id: UUID
    name: str
    kind: str
    config: dict[str, Any]
    secret: bytes | None = field(repr=False)
    version: int
    enabled: bool
    limits: dict[str, Any]
    allowed_domains: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Routing:
    """All that decides where an account's mail goes.

    Attributes:
        providers: those that the account may use, its own before the shared ones.
    """

    table: Table
    providers: Mapping[UUID, ProviderRow]


class Routings:
    """Reads what decides where mail goes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, account_id: UUID) -> Routing:
        """Give what an account has now; one that is gone has nothing.

        Raises:
            Unavailable: the database did not answer.
        """
        async with self._database.statement() as connection:
            return await load(connection, account_id)


async def load(connection: Connection, account_id: UUID) -> Routing:
    """The same inside of a transaction."""
    row = await (await connection.execute(SQL["load"], {"account_id": account_id})).fetchone()
    default, documents, ids, facts, secrets = row or (None, (), (), (), ())
    providers = _providers(ids, facts, secrets)
    table = compiled([_rule(document) for document in documents], providers, default)
    return Routing(table, {provider.id: provider for provider in providers})


def _providers(
    ids: Sequence[UUID], facts: Sequence[Mapping[str, Any]], secrets: Sequence[bytes | None]
) -> list[ProviderRow]:
    return [
        ProviderRow(
            id=provider_id,
            name=known["name"],
            kind=known["kind"],
            config=known["config"],
            secret=secret,
            version=known["version"],
            enabled=known["enabled"],
            limits=known["limits"],
            allowed_domains=tuple(known["allowed_domains"]) if known["allowed_domains"] is not None else None,
        )
        for provider_id, known, secret in zip(ids, facts, secrets, strict=True)
    ]


def _rule(document: dict[str, Any]) -> Rule:
    rule_id = UUID(document.pop("id"))
    try:
        return parse_rule(rule_id, document)
    except BadRule as fault:
        kept = document["name"], document["priority"], document["enabled"]
        return Rule(rule_id, *kept, Match(), Unreadable(str(fault)))
