"""Statistics: an account's mail of a time, in numbers."""

from datetime import timedelta
from typing import Annotated, Final

from fastapi import FastAPI, Query
from pydantic import Field

from backing.ids import now
from backing.postgres.statistics import MAX_DOMAINS, MAX_MESSAGES, MAX_RECIPIENTS
from mail.keys import Scope
from web.api.caller import Calling
from web.api.models import Given, Moment, Of, Utc
from web.api.operations import Operation, Row, add
from web.house import House
from web.problems import Problem

_DAY: Final = timedelta(days=1)
_LONGEST: Final = timedelta(days=31)


class Asked(Of):
    """Which time is asked for."""

    since: Moment | None = Field(None, description="Accepted then or later; the day before `until`, if not named.")
    until: Moment | None = Field(None, description="Accepted before; now, if not named. At most 31 days after `since`.")


class LatencyShown(Given):
    """Seconds from the acceptance of messages until providers took them."""

    count: int = Field(description="Attempts with which a provider took a message.")
    p50: float
    p95: float
    p99: float


class GroupShown(Given):
    """Recipients that have something in common."""

    name: str | None = Field(description="Null for what has none yet, and of domains for all others.")
    states: dict[str, int] = Field(description="Recipients by how they stand.")


class ProviderGroup(GroupShown):
    """Recipients whose mail went to a provider."""

    latency: LatencyShown | None


class StatisticsShown(Given):
    """The mail of a time."""

    since: Utc = Field(description="From when on it was counted: later than was asked for, if that was too much.")
    until: Utc
    messages: int
    complete: bool = Field(
        description=f"False where there were more than {MAX_MESSAGES} messages or {MAX_RECIPIENTS} recipients."
    )
    states: dict[str, int] = Field(description="Recipients by how they stand.")
    latency: LatencyShown | None
    providers: list[ProviderGroup]
    domains: list[GroupShown] = Field(description=f"The {MAX_DOMAINS} busiest domains of recipients.")


class Statistics:
    """The numbers of an account."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        row: Row = ("GET", "/statistics", Scope.MESSAGES_READ, self.show, "Count messages", 200, (404,))
        add(app, "statistics", (Operation.of(row),))

    async def show(self, caller: Calling, query: Annotated[Asked, Query()]) -> StatisticsShown:
        """Recipients of messages that were accepted in a time, by state, provider and domain; and how long it took.

        The newest messages are counted, so many of them that the answer comes in time; `complete` says whether it were
        all. To count more, ask for shorter times.
        """
        until = query.until or now()
        since = query.since or until - _DAY
        if not timedelta() < until - since <= _LONGEST:
            raise Problem(422, "until is not after since, or more than 31 days after it")
        async with self._house.office() as office:
            found = await office.messages.statistics(caller.account(query.account), since, until)
        return StatisticsShown(
            since=found.since,
            until=until,
            messages=found.messages,
            complete=found.complete,
            states={str(state): count for state, count in found.total.states.items()},
            latency=LatencyShown.model_validate(found.total.latency) if found.total.latency else None,
            providers=[ProviderGroup.model_validate(each) for each in found.providers],
            domains=[GroupShown.model_validate(each) for each in found.domains],
        )
