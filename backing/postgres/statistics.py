"""An account's mail of a time, in numbers; what a question costs is bounded by how many messages it looks at."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from backing.postgres.pool import Connection
from backing.postgres.sql import statements
from mail.states import State

SQL = statements(__file__)
MAX_MESSAGES: Final = 10_000
MAX_RECIPIENTS: Final = 100_000
MAX_DOMAINS: Final = 20


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the acceptance of messages until providers took them.

    Attributes:
        count: attempts with which providers took some.
    """

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Group:
    """Recipients that have something in common.

    Attributes:
        name: of a provider or domain; None for none, and for all other domains.
    """

    name: str | None
    states: dict[State, int]
    latency: Latency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """The mail of a time.

    Attributes:
        since: from when on messages were counted: later than was asked for where there are too many.
        complete: whether all messages and recipients of the time were counted.
    """

    since: datetime
    messages: int
    complete: bool
    total: Group
    providers: tuple[Group, ...]
    domains: tuple[Group, ...]


async def as_one(connection: Connection) -> None:
    """Let a transaction that has asked nothing yet read all as it is at one moment; a replica can do so, too."""
    await connection.execute(SQL["as_one"])


async def counted(
    connection: Connection, account_id: UUID, since: datetime, until: datetime, most: int = MAX_MESSAGES
) -> Statistics:
    """Count the newest messages of a time, at most so many, and their recipients.

    Args:
        connection: in a transaction that is `as_one`, or the numbers are those of several moments.
        account_id: whose.
        since: the earliest time at which they were accepted.
        until: the time before which they were.
        most: messages that are looked at.
    """
    asked = {"account_id": account_id, "since": since, "until": until, "most": most}
    chosen = await _rows(connection, "chosen", asked)
    values = {"account_id": account_id, "ids": [row[0] for row in chosen]}
    counts = await _rows(connection, "counts", values | {"most": MAX_RECIPIENTS, "domains": MAX_DOMAINS})
    latencies = await _rows(connection, "latencies", values)
    of_provider = {name: latency for total, name, latency in map(_latency, latencies) if not total}
    (total,) = _groups(counts, "all") or [Group(None, {})]
    whole = next((latency for is_total, _, latency in map(_latency, latencies) if is_total), None)
    return Statistics(
        since=chosen[-1][1] if len(chosen) == most else since,
        messages=len(chosen),
        complete=len(chosen) < most and sum(total.states.values()) < MAX_RECIPIENTS,
        total=Group(None, total.states, whole),
        providers=tuple(
            Group(each.name, each.states, of_provider.get(each.name)) for each in _groups(counts, "provider")
        ),
        domains=tuple(_groups(counts, "domain")),
    )


def _groups(rows: Iterable[tuple[Any, ...]], by: str) -> list[Group]:
    """Those that are counted by something, the largest first, and what has no name at the end."""
    found: dict[str | None, dict[State, int]] = {}
    for what, name, state, count in rows:
        if what == by:
            found.setdefault(name, {})[State(state)] = count
    ordered = sorted(found.items(), key=lambda each: (each[0] is None, -sum(each[1].values()), each[0] or ""))
    return [Group(name, {state: states[state] for state in State if state in states}) for name, states in ordered]


def _latency(row: tuple[Any, ...]) -> tuple[bool, str | None, Latency | None]:
    is_total, name, count, percentiles = row
    return is_total, name, Latency(count, *percentiles) if percentiles else None


async def _rows(connection: Connection, statement: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    return await (await connection.execute(SQL[statement], values)).fetchall()
