"""Takes claimed deliveries to their providers: body, ways, attempts, failover."""

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Final

import structlog

from backing.postgres.claims import Pending, Result
from backing.postgres.routing import ProviderRow
from backing.provider_configs import BadConfig
from backing.s3 import BodyMissing
from mail.delivery import PROVIDER_TROUBLE, Outcome
from mail.errors import Unavailable
from mail.job import Job, StoredBody
from mail.splice import outgoing
from worker.attempts import Attempts, Means, Station, Terms
from worker.decide import Answered, Case, Moment, conclude, fate, must_be_stored, policy_of
from worker.errand import Errand
from worker.providers.base import NO_REQUIRETLS, Answer, Provider
from worker.reports import Telling, write
from worker.sort import sort
from worker.ways import Way

# Attempts of one message at a time, where its recipients need several.
_ATTEMPTS: Final = 10


class Courier:
    """Delivers what is claimed."""

    def __init__(self, means: Means, terms: Terms) -> None:
        self._means = means
        self._terms = terms
        self._chance = random.SystemRandom()
        self._attempts = Attempts(means, terms)
        self._log = structlog.get_logger()

    def take(self, terms: Terms) -> None:
        """Go on under other terms; attempts that are being made end under theirs."""
        self._terms = self._attempts.terms = terms

    async def deliver(self, errand: Errand) -> Result:
        """Do all that can be done for a delivery now.

        Cancelled, it leaves the errand as far as it came; `given_up` says what that means.

        Raises:
            LeaseLost: another worker has it.
        """
        now = self._means.clock()
        todo = sort(errand.claim, now)
        errand.settle(todo.settled)
        if todo.ready or todo.again:
            async with self._means.baggage.room(errand.job):
                await self._send(errand, todo.ready, todo.again)
        elif todo.settled:
            self._log.info(
                "settled unsent",
                message=str(errand.job.id),
                session=errand.job.session,
                states=dict(Counter(str(each.state) for each in todo.settled)),
            )
        return await self._reported(errand, self._result(errand))

    async def given_up(self, errand: Errand) -> Result:
        """Decide what follows from an errand that was cut off: attempts that were under way are unknown."""
        if errand.cut_off():
            # A statement that waits for the one that writes them down does not see them; the next one does.
            with suppress(Unavailable):
                await self._means.ledger.extend([errand.claim])
        return await self._reported(errand, self._result(errand))

    async def park(self, errand: Errand, result: Result) -> Result:
        """Store the body of mail that waits, before anything says that it waits.

        Raises:
            Unavailable: S3 did not take it.
        """
        return replace(result, body=await self.store(errand.job)) if must_be_stored(result) else result

    async def store(self, job: Job) -> StoredBody:
        """Store the body of mail that waits.

        Raises:
            Unavailable: S3 did not take it.
        """
        return await self._means.baggage.store(job)

    def _result(self, errand: Errand) -> Result:
        job, claim = errand.job, errand.claim
        policy = policy_of(claim.wishes, self._terms.retries)
        case = Case(claim, job.accepted_at, policy, Moment(self._means.clock(), self._chance))
        fates = [fate(case, pending, errand.answered[pending.n]) for pending in errand.open()]
        return conclude(claim, [*errand.settled.values(), *fates], errand.ended)

    async def _reported(self, errand: Errand, result: Result) -> Result:
        """Add what the sender is told; a report without the message is better than none."""
        telling = Telling(errand.job, errand.claim, result.fates, self._means.clock())
        if not telling.due():
            return result
        try:
            message = errand.body or await self._means.baggage.fetch(errand.job)
        except (BodyMissing, Unavailable) as fault:
            self._log.warning("report without its message", message=str(errand.job.id), reason=str(fault))
            message = b""
        fates, report = write(telling, message, self._terms.desk)
        return replace(result, fates=fates, report=report)

    async def _send(self, errand: Errand, ready: Sequence[Pending], again: Sequence[Pending]) -> None:
        try:
            errand.body = outgoing(await self._means.baggage.fetch(errand.job))
            routed = await self._means.router.route(errand.job, errand.body, ready)
            back = await self._means.router.back(errand.job, errand.body, again)
        except BodyMissing as missing:
            self._log.error("body is lost", message=str(errand.job.id), reason=str(missing))
            errand.answer([*ready, *again], Answer(Outcome.PERMANENT, None, "5.3.0", "the message is lost"))
            return
        except Unavailable as fault:
            # Nothing is wrong with the mail, so it may wait like mail for a provider that is down.
            answer = Answer(Outcome.PROVIDER_DOWN, None, None, f"nothing to send with: {fault}")
            errand.answer([*ready, *again], answer)
            return
        errand.settle((*routed.settled, *back.settled))
        await _all(partial(self._go, errand), (*routed.ways, *back.ways))

    async def _go(self, errand: Errand, way: Way) -> None:
        """Ask the providers of a way in turn, each for those that the one before may not have taken."""
        rest = way.recipients
        if not way.plan:
            errand.answer(rest, Answer(Outcome.MISCONFIGURED, None, None, way.why), way)
            self._log.error("nowhere to send to", message=str(errand.job.id), reason=way.why)
        waits: dict[int, Answered] = {}
        for row in way.plan:
            await self._ask(errand, replace(way, recipients=rest), row)
            answers = {each.n: errand.answered[each.n] for each in rest}
            waits |= {n: each for n, each in answers.items() if each.result.outcome in PROVIDER_TROUBLE}
            rest = tuple(each for each in rest if answers[each.n].result.outcome in way.failover_on)
            if not rest:
                return
        # What one provider does not take for its content, another may that could not be asked.
        errand.answered |= {each.n: waits[each.n] for each in rest if each.n in waits}

    async def _ask(self, errand: Errand, way: Way, row: ProviderRow) -> None:
        provider = await self._provider(row)
        if errand.job.require_tls and not isinstance(provider, Answer) and not _keeps_tls(provider):
            provider = NO_REQUIRETLS
        if isinstance(provider, Answer):
            errand.answer(way.recipients, provider, way)
            self._log.error("provider not asked", message=str(errand.job.id), provider=row.name, reason=provider.text)
            return
        capabilities = provider.capabilities
        # Alone, a recipient has the same key whenever it is sent to again.
        most = 1 if capabilities.idempotent else min(capabilities.max_recipients, way.most or sys.maxsize)
        groups = [way.recipients[start : start + most] for start in range(0, len(way.recipients), most)]
        ways = [replace(way, recipients=each) for each in groups]
        await _all(partial(self._attempts.make, errand, Station(row, provider)), ways)

    async def _provider(self, row: ProviderRow) -> Provider | Answer:
        if not row.enabled:
            return Answer(Outcome.MISCONFIGURED, None, None, f"provider {row.name} is disabled")
        try:
            return await self._means.providers.get(row)
        except BadConfig as wrong:
            return Answer(Outcome.MISCONFIGURED, None, None, f"provider {row.name}: {wrong}")
        except Unavailable as fault:
            return Answer(Outcome.PROVIDER_DOWN, None, None, f"provider {row.name}: {fault}")


async def _all(work: Callable[[Way], Coroutine[Any, Any, None]], ways: Sequence[Way]) -> None:
    """Do the work for one way at once, and for more as tasks, a few at a time.

    Raises:
        LeaseLost: to one of them; the others are ended.
    """
    if len(ways) == 1:
        await work(ways[0])
        return
    places = asyncio.Semaphore(_ATTEMPTS)

    async def one(way: Way) -> None:
        async with places:
            await work(way)

    try:
        async with asyncio.TaskGroup() as tasks:
            for way in ways:
                tasks.create_task(one(way))
    except ExceptionGroup as several:
        raise several.exceptions[0] from several


def _keeps_tls(provider: Provider) -> bool:
    return provider.capabilities.verified_tls and provider.capabilities.requiretls
