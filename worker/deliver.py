"""One claimed delivery: its body, its provider, the attempt, and what the attempt means."""

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from backing.metrics import WorkerMetrics
from backing.postgres.deliveries import Action, Claimed, Result
from backing.s3 import Bodies, BodyMissing
from mail.delivery import Outcome, RecipientResult, RetryPolicy
from mail.errors import Unavailable
from mail.job import Job, StoredBody
from worker.decide import Moment, after_attempt, must_be_stored, without_attempt
from worker.providers.base import NO_REQUIRETLS, Answer, BadConfig, Envelope, Provider
from worker.providers.registry import Providers

# Below this a digest takes less time than handing it to a thread.
_HASH_INLINE = 1_000_000
# Domains in a log line; a message to a thousand of them is known by its first few.
_DOMAINS = 5


@dataclass(frozen=True, slots=True)
class Letter:
    """A claimed delivery that is ready to go: a provider and a body, or the answer that stands for them."""

    job: Job
    claim: Claimed
    body: bytes
    provider: Provider | Answer


class Courier:
    """Takes claimed deliveries to their providers.

    Args:
        providers: whom to send through.
        bodies: where bodies are that do not ride on the queue.
        policy: when to try again.
        metrics: counts outcomes.
        clock: tells the time.
    """

    def __init__(
        self,
        providers: Providers,
        bodies: Bodies,
        policy: RetryPolicy,
        metrics: WorkerMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._providers = providers
        self._bodies = bodies
        self._policy = policy
        self._metrics = metrics
        self._clock = clock
        self._chance = random.SystemRandom()
        self._log = structlog.get_logger()

    async def prepare(self, job: Job, claim: Claimed) -> Letter:
        """Fetch what the attempt needs; nothing is sent yet."""
        try:
            body = await self._body(job)
        except BodyMissing as missing:
            self._log.error("body is lost", message=str(job.id), session=job.session, reason=str(missing))
            return Letter(job, claim, b"", Answer(Outcome.PERMANENT, None, "5.3.0", "the stored message is lost"))
        except Unavailable as fault:
            # Its body is safe, so it may wait like mail for a provider that is down.
            return Letter(job, claim, b"", Answer(Outcome.PROVIDER_DOWN, None, None, f"no body to send: {fault}"))
        provider = await self._provider(claim)
        if job.require_tls and not isinstance(provider, Answer) and not provider.verified_tls:
            provider = NO_REQUIRETLS
        return Letter(job, claim, body, provider)

    async def send(self, letter: Letter, deadline: float) -> Result:
        """Make the attempt, if the claim is for one, and decide what follows."""
        job, claim, loop = letter.job, letter.claim, asyncio.get_running_loop()
        if claim.action is not Action.SEND or not claim.pending:
            self._log.warning("settled unsent", message=str(job.id), session=job.session, action=claim.action)
            return without_attempt(claim, self._policy, self._moment())
        began = loop.time()
        if isinstance(letter.provider, Answer):
            results = letter.provider.to([n for n, _ in claim.pending])
        else:
            results = await letter.provider.send(_envelope(job, claim), letter.body, deadline)
            self._metrics.send_seconds.observe(loop.time() - began)
        self._count(job, results)
        result = after_attempt(claim, results, self._policy, self._moment())
        self._tell(letter, results, result, loop.time() - began)
        return result

    async def park(self, job: Job, result: Result) -> Result:
        """Store the body of mail that waits, before anything says that it waits.

        Raises:
            Unavailable: S3 did not take it.
        """
        if not must_be_stored(result) or not isinstance(job.body, bytes):
            return result
        return replace(result, body=await self._bodies.put(job.id, job.body))

    async def _body(self, job: Job) -> bytes:
        body = job.body if isinstance(job.body, bytes) else await self._bodies.get(job.body)
        content = memoryview(body)[job.head :]
        digest = (
            hashlib.sha256(content) if len(body) < _HASH_INLINE else await asyncio.to_thread(hashlib.sha256, content)
        )
        if digest.digest() != job.sha256:
            where = job.body.key if isinstance(job.body, StoredBody) else "the queue"
            raise BodyMissing(f"what lies in {where} is not what was accepted")
        return body

    async def _provider(self, claim: Claimed) -> Provider | Answer:
        row = claim.provider
        if row is None:
            return _misconfigured("the account has no provider")
        if not row.enabled:
            return _misconfigured(f"provider {row.name} is disabled")
        try:
            return await self._providers.get(row)
        except BadConfig as wrong:
            return _misconfigured(f"provider {row.name}: {wrong}")
        except Unavailable as fault:
            return Answer(Outcome.PROVIDER_DOWN, None, None, f"provider {row.name}: {fault}")

    def _moment(self) -> Moment:
        return Moment(self._clock(), self._chance)

    def _count(self, job: Job, results: list[RecipientResult]) -> None:
        for result in results:
            self._metrics.outcomes.labels(result.outcome).inc()
        if any(result.outcome is Outcome.ACCEPTED for result in results):
            age = self._clock() - job.accepted_at
            self._metrics.accept_to_delivered_seconds.observe(max(age.total_seconds(), 0.0))

    def _tell(self, letter: Letter, results: list[RecipientResult], result: Result, seconds: float) -> None:
        job, claim = letter.job, letter.claim
        # What only an operator can mend is an error, whoever's fault it is: mail waits for it.
        tell = self._log.error if result.outcome == Outcome.MISCONFIGURED else self._log.info
        tell(
            "attempt",
            message=str(job.id),
            session=job.session,
            account=str(job.account_id),
            provider=claim.provider.name if claim.provider else None,
            attempt=claim.attempts,
            outcomes=dict(Counter(str(each.outcome) for each in results)),
            state=result.state,
            domains=_domains(job, claim),
            reply=None if result.outcome == Outcome.ACCEPTED else _unaddressed(result),
            ms=round(seconds * 1000, 1),
        )


def _misconfigured(text: str) -> Answer:
    return Answer(Outcome.MISCONFIGURED, None, None, text)


def _envelope(job: Job, claim: Claimed) -> Envelope:
    return Envelope(
        message_id=job.id,
        mail_from=job.mail_from,
        recipients=tuple((n, job.recipients[n]) for n, _ in claim.pending),
        smtputf8=job.smtputf8,
        eight_bit=job.eight_bit,
        ret=job.ret,
        envid=job.envid,
        require_tls=job.require_tls,
    )


def _domains(job: Job, claim: Claimed) -> list[str]:
    domains = dict.fromkeys(job.recipients[n].address.rpartition("@")[2].lower() for n, _ in claim.pending)
    return list(domains)[:_DOMAINS]


def _unaddressed(result: Result) -> str:
    """The reply that stands for an attempt, without the addresses a peer likes to repeat in it."""
    words = [word if "@" not in word else "<...>" for word in (result.reply or "").split()]
    return " ".join([*([str(result.code)] if result.code else []), *words])
