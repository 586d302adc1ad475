"""Health of providers: what workers have left word of for each other in the cache."""

from datetime import UTC, datetime
from time import time
from typing import Annotated
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field

from backing.shares import notes, provider_record
from mail.breaker import Breaker, Cause, Condition
from mail.control_notes import read_breaker, read_pace, read_reading
from mail.errors import Unavailable
from mail.keys import Scope
from mail.pace import Pace
from web.api.caller import Calling
from web.api.models import Given, Of, Utc
from web.api.operations import Operation, Row, add
from web.api.providers import owner_of
from web.house import House


class BreakerShown(Given):
    """Whether mail goes through."""

    condition: Condition = Field(description="half_open: the next message tries whether it works again.")
    since: Utc | None = Field(description="When it last opened or closed; null where it never did.")
    until: Utc | None = Field(description="When it is tried again.")
    cause: Cause | None


class RateShown(Given):
    """A rate that was learned from complaints of the provider."""

    per_second: float = Field(description="Recipients that are sent to now.")
    limit: float = Field(description="To which it returns.")
    held_until: Utc | None = Field(description="Nothing is sent before, since the provider said so.")


class QuotaShown(Given):
    """What the provider says of itself."""

    read_at: Utc
    per_second: float | None
    left: int | None = Field(description="Recipients of the day, when it was read.")
    enabled: bool


class HealthShown(Given):
    """How a provider stands."""

    name: str
    enabled: bool
    known: bool = Field(description="False while the cache is away: then nobody here knows.")
    breaker: BreakerShown | None
    rate: RateShown | None = Field(description="Null where it has not complained.")
    quota: QuotaShown | None = Field(description="Null where it tells none.")


class Health:
    """The health of the providers of an account, or of those that all share."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        row: Row = ("GET", "/providers/{name}/health", Scope.PROVIDERS_READ, self.show, "Tell its health", 200, (404,))
        add(app, "providers", (Operation.of(row),))

    async def show(self, caller: Calling, name: str, query: Annotated[Of, Query()]) -> HealthShown:
        """Whether mail goes through a provider, how fast, and what it says of its quota, as workers find."""
        async with self._house.office() as office:
            row = await office.providers.show(owner_of(caller, query), name)
        found = await self._notes(UUID(str(row["id"])))
        facts = {"name": row["name"], "enabled": row["enabled"]}
        if found is None:
            return HealthShown(**facts, known=False, breaker=None, rate=None, quota=None)
        now = time()
        breaker = (read_breaker(found.get(b"breaker"), now) or Breaker()).for_version(row["version"], now)
        return HealthShown(
            **facts,
            known=True,
            breaker=_breaker(breaker, now),
            rate=_rate(read_pace(found.get(b"pace"), now), now),
            quota=_quota(found.get(b"quota"), now),
        )

    async def _notes(self, provider_id: UUID) -> dict[bytes, bytes] | None:
        try:
            (found,) = await self._house.cache.ask([notes(provider_record(provider_id))])
        except Unavailable:
            return None
        return dict(found)


def _breaker(breaker: Breaker, now: float) -> BreakerShown:
    if breaker.condition is Condition.CLOSED:
        since = _at(breaker.since) if breaker.since else None
        return BreakerShown(condition=Condition.CLOSED, since=since, until=None, cause=None)
    condition = Condition.HALF_OPEN if breaker.may_probe(now) else Condition.OPEN
    return BreakerShown(condition=condition, since=_at(breaker.since), until=_at(breaker.until), cause=breaker.cause)


def _rate(pace: Pace | None, now: float) -> RateShown | None:
    if pace is None:
        return None
    held = _at(pace.hold) if pace.hold > now else None
    return RateShown(per_second=round(pace.at_time(now), 3), limit=pace.limit, held_until=held)


def _quota(data: bytes | None, now: float) -> QuotaShown | None:
    reading = read_reading(data, now)
    if reading is None:
        return None
    quota = reading.quota
    return QuotaShown(read_at=_at(reading.at), per_second=quota.rate, left=quota.left, enabled=quota.enabled)


def _at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
