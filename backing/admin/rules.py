"""What an operator does to routing rules: make them, change them, look, delete them, and ask what they would do."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from backing.admin.desk import AdminError, Desk, NotFound, account_id
from backing.admin.parts import WHOLE, Part
from backing.ids import new_id
from backing.postgres.pool import Connection
from backing.postgres.routing import SQL, load
from mail.routing.conditions import Question
from mail.routing.documents import MAX_RULES, check_name, parse_rule
from mail.routing.reading import BadRule
from mail.routing.rules import Redirect, Route, Rule
from mail.routing.trace import Trace

_FIELDS = ("name", "priority", "enabled", "match", "action")


class Rules:
    """An operator's changes to the rules of an account, each in one transaction; a rule is meant by its name or id."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def create(self, account: str, document: Mapping[str, Any]) -> None:
        """Make a rule of a document, as `mail.routing.documents` reads it.

        Raises:
            AdminError: there is no such account, it has as many rules as it may, or the document is no rule of it.
        """
        rule = _read(new_id(), document, named=True)
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account)
            await connection.execute(SQL["lock_rules"], {"account_id": owner})
            (count,) = await (await connection.execute(SQL["count_rules"], {"account_id": owner})).fetchone() or (0,)
            if count >= MAX_RULES:
                raise AdminError(f"account {account!r} has {count} rules; {MAX_RULES} at most")
            await _check_providers(connection, owner, rule)
            values = _values(owner, rule, document) | {"id": rule.id}
            await connection.execute(SQL["create_rule"], values)
        self._desk.changed("routing", owner)

    async def change(self, account: str, name: str, changes: Mapping[str, Any]) -> None:
        """Change a rule; keys of a rule that are not named stay as they are.

        Raises:
            AdminError: there is no such rule, or it would be none.
        """
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account)
            await connection.execute(SQL["lock_rules"], {"account_id": owner})
            kept = await _one(connection, owner, account, name)
            document = {key: kept[key] for key in _FIELDS} | dict(changes)
            rule = _read(UUID(kept["id"]), document, named=document["name"] != kept["name"])
            await _check_providers(connection, owner, rule)
            values = _values(owner, rule, document) | {"id": rule.id}
            await connection.execute(SQL["change_rule"], values)
        self._desk.changed("routing", owner)

    async def delete(self, account: str, name: str) -> None:
        """Delete a rule.

        Raises:
            AdminError: there is no such rule.
        """
        async with self._desk.transaction() as connection:
            owner = await account_id(connection, account)
            gone = await _one(connection, owner, account, name)
            await connection.execute(SQL["delete_rule"], {"account_id": owner, "id": gone["id"]})
        self._desk.changed("routing", owner)

    async def all(self, account: str, part: Part = WHOLE) -> list[dict[str, Any]]:
        """All rules of an account, or a part of them, in the order in which they are asked.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection, connection.cursor(row_factory=dict_row) as cursor:
            values = {"account_id": await account_id(connection, account)} | part.values("after", "after_id")
            return await (await cursor.execute(SQL["list_rules"], values)).fetchall()

    async def show(self, account: str, name: str) -> dict[str, Any]:
        """All about one rule.

        Raises:
            AdminError: there is no such rule.
        """
        async with self._desk.transaction() as connection:
            return await _one(connection, await account_id(connection, account), account, name)

    async def simulate(self, account: str, question: Question, recipients: Sequence[str]) -> list[Trace]:
        """Say what would be done with a message, and why; nothing is.

        Raises:
            AdminError: there is no such account.
        """
        async with self._desk.transaction() as connection:
            routing = await load(connection, await account_id(connection, account))
        return [routing.table.explain(question, recipient) for recipient in recipients]

    async def credential(self, account: str, username: str) -> UUID:
        """Find a credential of an account by its user name.

        Raises:
            AdminError: it has none of this name.
        """
        async with self._desk.transaction() as connection:
            values = {"account_id": await account_id(connection, account), "username": username}
            row = await (await connection.execute(SQL["credential_id"], values)).fetchone()
        if row is None:
            raise AdminError(f"account {account!r} has no credential {username!r}; `credential list` shows its own")
        found: UUID = row[0]
        return found


def _read(rule_id: UUID, document: Mapping[str, Any], *, named: bool) -> Rule:
    try:
        rule = parse_rule(rule_id, dict(document))
        if named:
            check_name(rule.name)
    except BadRule as fault:
        raise AdminError(f"the rule cannot be: {fault}") from None
    return rule


def _values(owner: UUID, rule: Rule, document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "account_id": owner,
        "name": rule.name,
        "priority": rule.priority,
        "enabled": rule.enabled,
        "match": Jsonb(document.get("match", {})),
        "action": Jsonb(document["action"]),
    }


async def _check_providers(connection: Connection, owner: UUID, rule: Rule) -> None:
    route = rule.action.route if isinstance(rule.action, Redirect) else rule.action
    if not isinstance(route, Route):
        return
    rows = await (await connection.execute(SQL["provider_names"], {"account_id": owner})).fetchall()
    known = {row[0] for row in rows}
    for name in (*(target.provider for target in route.targets), *route.failover):
        if name not in known:
            raise AdminError(f"there is no provider {name!r} that this account may use")


async def _one(connection: Connection, owner: UUID, account: str, name: str) -> dict[str, Any]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["show_rule"], {"account_id": owner, "name": name})
        return await cursor.fetchone() or _no_rule(account, name)


def _no_rule(account: str, name: str) -> Any:
    raise NotFound(f"account {account!r} has no rule {name!r}", "`rule list` shows those there are")
