"""Which way each recipient goes, by the rules of its account: through which providers, or nowhere."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from backing.postgres.claims import Fate, Pending
from backing.postgres.routing import ProviderRow
from mail.delivery import Outcome
from mail.headers import header_block
from mail.job import Job
from mail.routing.conditions import Question
from mail.routing.rules import Decision, Discard, Hold, Plan, Reject
from mail.states import State
from worker.routes import Routes
from worker.sort import unasked

_NOBODY: Final = "the account has no provider"


@dataclass(frozen=True, slots=True)
class Way:
    """Recipients that go the same way.

    Attributes:
        plan: the providers, in the order in which they are asked.
        failover_on: after which answers the next one is; an unknown outcome is never among them.
        most: recipients of one attempt, or None for what the provider takes.
        why: what is wrong where the plan is empty.
    """

    recipients: tuple[Pending, ...]
    plan: tuple[ProviderRow, ...]
    failover_on: frozenset[Outcome] = frozenset()
    rule_id: UUID | None = None
    redirected_to: str | None = None
    most: int | None = None
    why: str = _NOBODY


@dataclass(frozen=True, slots=True)
class Routed:
    """Where the recipients of a message go, and those that go nowhere."""

    ways: tuple[Way, ...]
    settled: tuple[Fate, ...] = ()


class Router:
    """Says which way recipients go.

    Args:
        routes: the rules and providers of accounts.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    async def route(self, job: Job, body: bytes, recipients: Sequence[Pending]) -> Routed:
        """Route recipients by the account's rules.

        Raises:
            Unavailable: the rules cannot be had now.
        """
        if not recipients:
            return Routed(())
        table = await self._routes.of(job.account_id)
        question = Question(
            message_id=job.id,
            mail_from=job.mail_from,
            size=job.size,
            credential_id=job.credential_id,
            stream=job.stream,
            tags=job.tags,
            header_block=lambda: header_block(body),
        )
        together: defaultdict[tuple[Decision, UUID | None], list[Pending]] = defaultdict(list)
        for each in recipients:
            decision = table.decide(question, job.recipients[each.n].address, released=each.released)
            together[decision, each.by_order].append(each)
        ways: list[Way] = []
        settled: list[Fate] = []
        for (decision, by_order), several in together.items():
            if isinstance(decision.course, Plan):
                way = await self._way(job.account_id, decision.rule_id, decision.course, several)
                ordered = await self._routes.provider(job.account_id, by_order) if by_order else None
                # One that is gone or disabled by now leaves the mail to the rules again.
                ways.append(replace(way, plan=(ordered,)) if ordered and ordered.enabled else way)
            else:
                settled += [_settled(each, decision.rule_id, decision.course) for each in several]
        return Routed(tuple(ways), tuple(settled))

    async def back(self, job: Job, body: bytes, recipients: Sequence[Pending]) -> Routed:
        """Give the ways back to the providers that were asked last, and to no other while they exist.

        Raises:
            Unavailable: the providers cannot be had now.
        """
        asked: defaultdict[UUID | None, list[Pending]] = defaultdict(list)
        for each in recipients:
            asked[each.provider_id].append(each)
        ways: list[Way] = []
        lost: list[Pending] = []
        for provider_id, several in asked.items():
            row = await self._routes.provider(job.account_id, provider_id) if provider_id else None
            if row is None:
                lost += several  # nobody can be asked again who is not there any more
            else:
                # By a rule it may have gone to another address, and it goes there again.
                redirected: defaultdict[str | None, list[Pending]] = defaultdict(list)
                for each in several:
                    redirected[each.redirected_to].append(each)
                ways += [Way(tuple(group), (row,), redirected_to=to) for to, group in redirected.items()]
        routed = await self.route(job, body, lost)
        return Routed((*ways, *routed.ways), routed.settled)

    async def _way(self, account_id: UUID, rule_id: UUID | None, plan: Plan, recipients: Iterable[Pending]) -> Way:
        rows = [await self._routes.provider(account_id, each) for each in plan.providers]
        why = "; ".join(f"{each.provider}: {each.reason}" for each in plan.skipped) or _NOBODY
        return Way(
            tuple(recipients),
            tuple(row for row in rows if row is not None),
            # What a provider does not take for its content may suit another.
            plan.failover_on | {Outcome.MESSAGE_PERMANENT},
            rule_id,
            plan.redirect_to,
            plan.max_recipients,
            why,
        )


def _settled(pending: Pending, rule_id: UUID | None, course: Reject | Hold | Discard) -> Fate:
    match course:
        case Reject(code, text, enhanced):
            return Fate(
                n=pending.n,
                state=State.FAILED,
                code=code,
                enhanced=enhanced,
                reply=text,
                tries=pending.tries,
                rule_id=rule_id,
            )
        case Hold(reason):
            return unasked(pending, State.HELD, f"held by a rule: {reason}", rule_id=rule_id)
        case Discard():
            return unasked(pending, State.DISCARDED, "discarded by a rule", rule_id=rule_id)
