"""Who signs in to PostgreSQL, and what each may do there: no more than its statements need."""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

_READ: Final = "SELECT"
_WRITE: Final = "SELECT, INSERT, UPDATE"
_ALL: Final = "SELECT, INSERT, UPDATE, DELETE"

# Rows that lose their account or message go with it whoever deletes that: PostgreSQL does it as their tables' owner.
GRANTS: Final[Mapping[str, Mapping[str, LiteralString]]] = {
    "relay": {
        "account": _READ,
        "credential": _READ,
        "credential_former": _READ,
        "credential_use": _WRITE,
        "suppression": _READ,
    },
    "worker": {
        "account": _READ,
        # What is old goes; nothing of it is written.
        "api_request": "SELECT, DELETE",
        "api_submission": "SELECT, DELETE",
        "attempt": _WRITE,
        "audit_log": "SELECT, INSERT, DELETE",
        "delivery": _WRITE,
        "early_order": "SELECT, DELETE",
        # It answers them, and removes old ones.
        "inquiry": "SELECT, UPDATE, DELETE",
        "message": _ALL,
        "outbox": _ALL,
        "provider": _READ,
        "provider_event": _ALL,
        "recipient": _WRITE,
        "report": _ALL,
        "routing_rule": _READ,
        "submission": _ALL,
        "suppression": _WRITE,
        "webhook_delivery": _WRITE,
        "webhook_endpoint": "SELECT, UPDATE",
    },
    # The API and the console; the operator's command, too.
    "web": {
        "account": _ALL,
        # Whether the schema is new enough is asked at the start.
        "alembic_version": _READ,
        "api_key": _WRITE,
        "api_request": _ALL,
        "api_submission": _ALL,
        "attempt": _READ,
        "audit_log": "SELECT, INSERT",
        "credential": _WRITE,
        "credential_former": _ALL,
        "credential_use": _READ,
        "delivery": "SELECT, UPDATE",
        "early_order": "SELECT, INSERT, DELETE",
        "inquiry": "SELECT, INSERT",
        "message": "SELECT, UPDATE",
        "outbox": "SELECT, INSERT",
        "provider": _ALL,
        "provider_event": _WRITE,
        "recipient": "SELECT, UPDATE",
        "report": _READ,
        "routing_rule": _ALL,
        "suppression": _ALL,
        "webhook_delivery": _WRITE,
        "webhook_endpoint": _ALL,
    },
}
# What a role may change of tables of which it may change nothing else: a worker seals secrets anew.
COLUMNS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "worker": {"provider": ("secret", "secret_key", "secret_sealed_at")},
}
# Who has it signs in with an IAM token and no longer with a password (RDS: "IAM database authentication").
_IAM: Final = "rds_iam"
_SCHEMA: Final = sql.Identifier("public")


def prepare(connection: psycopg.Connection[TupleRow], *, take: bool = True) -> list[str]:
    """Make the roles that are missing and give each what it needs, in one transaction; give those that were made.

    Args:
        connection: of the tables' owner, who may make roles; the schema is up to date.
        take: take back what is not needed. Not where a later release has been, whose tasks may still run.
    """
    with connection.transaction():
        known = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        made = [role for role in GRANTS if role not in known]
        for role in made:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        _close_to_others(connection)
        for role, tables in GRANTS.items():
            name = sql.Identifier(role)
            if _IAM in known:
                connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(_IAM), name))
            if take:
                # What an earlier version needed; sessions that run see both changes at once.
                connection.execute(sql.SQL("REVOKE ALL ON ALL TABLES IN SCHEMA {} FROM {}").format(_SCHEMA, name))
            _grant(connection, name, tables)
            _grant_columns(connection, name, COLUMNS.get(role, {}))
        return made


def _close_to_others(connection: psycopg.Connection[TupleRow]) -> None:
    database = sql.Identifier(connection.info.dbname)
    roles = sql.SQL(", ").join(map(sql.Identifier, GRANTS))
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, roles))
    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA {} FROM PUBLIC").format(_SCHEMA))
    connection.execute(sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(_SCHEMA, roles))


def _grant(connection: psycopg.Connection[TupleRow], role: sql.Identifier, tables: Mapping[str, LiteralString]) -> None:
    for table, verbs in tables.items():
        place = sql.Identifier("public", table)
        connection.execute(sql.SQL("GRANT {} ON TABLE {} TO {}").format(sql.SQL(verbs), place, role))


def _grant_columns(
    connection: psycopg.Connection[TupleRow], role: sql.Identifier, tables: Mapping[str, Sequence[str]]
) -> None:
    for table, columns in tables.items():
        named = sql.SQL(", ").join(map(sql.Identifier, columns))
        place = sql.Identifier("public", table)
        connection.execute(sql.SQL("GRANT UPDATE ({}) ON TABLE {} TO {}").format(named, place, role))
