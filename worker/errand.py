"""One claimed delivery in hand: its lease, its attempts under way, and what is known of its recipients so far."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from uuid import UUID, uuid5

from backing.postgres.claims import Claimed, Ended, Fate, Pending
from backing.postgres.routing import ProviderRow
from backing.sqs import Received
from mail.delivery import Outcome, RecipientResult
from mail.job import Job, Recipient
from worker.decide import Answered, ended
from worker.providers.base import Answer, Envelope
from worker.ways import Way

# What stands in the log of an attempt that was written down, or may have been, and then was not made.
NOT_MADE: Final = "not_made"
_CUT_OFF: Final = "the worker was stopped while it was sending"


class LeaseLost(Exception):  # noqa: N818 - a fact about a claim
    """Another worker has the delivery by now; nothing more may be sent of it."""


class Errand:
    """A delivery that we have the claim of.

    Args:
        message: the queue message it came with.
        job: what is to be delivered.
        claim: our lease, and how the recipients stood.
        lease_end: event loop time at which the lease ends; it moves on as the lease is extended.

    Attributes:
        body: the message, once it is at hand.
        concluded: whether its result is decided.
    """

    def __init__(self, message: Received, job: Job, claim: Claimed, lease_end: float) -> None:
        self.message = message
        self.job = job
        self.claim = claim
        self.lease_end = lease_end
        self.body = b""
        self.concluded = False
        self.settled: dict[int, Fate] = {}
        self.answered: dict[int, Answered] = {}
        self.ended: list[Ended] = []
        self._begun = claim.attempts
        self._flying: dict[int, tuple[ProviderRow, Way, Sequence[Pending]]] = {}

    @property
    def begun(self) -> bool:
        """Whether an attempt may have been made."""
        return self._begun > self.claim.attempts

    def settle(self, fates: Iterable[Fate]) -> None:
        """Take note of recipients that need no provider."""
        self.settled |= {each.n: each for each in fates}

    def number(self) -> int:
        """Give the number of the next attempt."""
        self._begun += 1
        return self._begun

    def fly(self, n: int, row: ProviderRow, way: Way, recipients: Sequence[Pending]) -> None:
        """Take note of an attempt that is being made."""
        self._flying[n] = (row, way, recipients)

    def land(self, n: int, results: Sequence[RecipientResult], evidence_seconds: float | None = None) -> None:
        """Take note of what came of it."""
        row, way, _ = self._flying.pop(n)
        self.ended.append(ended(n, results))
        for result in results:
            self.answered[result.n] = Answered(result, row.id, way.rule_id, way.redirected_to, evidence_seconds)

    def cut_off(self) -> bool:
        """Take note that nobody will learn what comes of the attempts that are being made.

        Returns:
            Whether others were about to be made, and may be being written down.
        """
        for n, (_, _, recipients) in list(self._flying.items()):
            self.land(n, [RecipientResult(each.n, Outcome.UNKNOWN, None, None, _CUT_OFF) for each in recipients])
        numbers = range(self.claim.attempts + 1, self._begun + 1)
        unmade = {*numbers} - {each.n for each in self.ended}
        self.ended += [Ended(n, NOT_MADE, None, None, _CUT_OFF) for n in unmade]
        return bool(unmade)

    def answer(self, recipients: Sequence[Pending], answer: Answer, way: Way | None = None) -> None:
        """Let an answer of ours stand for a provider's, unless one that was asked has said more."""
        rule_id, redirected_to = (way.rule_id, way.redirected_to) if way else (None, None)
        for result in answer.to([each.n for each in recipients]):
            known = self.answered.get(result.n)
            if known is None or known.provider_id is None or known.result.outcome is Outcome.MESSAGE_PERMANENT:
                self.answered[result.n] = Answered(result, None, rule_id, redirected_to)

    def open(self) -> Iterator[Pending]:
        """Give the recipients a provider has answered for."""
        return (each for each in self.claim.pending if each.n in self.answered)

    def envelope(self, row: ProviderRow, way: Way, recipients: Sequence[Pending]) -> Envelope:
        """Give what a provider is told of an attempt; the same attempt has the same key again."""
        job, numbers = self.job, [each.n for each in recipients]
        return Envelope(
            message_id=job.id,
            key=_key(job.id, row.id, numbers),
            account_id=job.account_id,
            mail_from=job.mail_from,
            recipients=tuple((n, _redirected(job.recipients[n], way)) for n in numbers),
            smtputf8=job.smtputf8,
            eight_bit=job.eight_bit,
            ret=job.ret,
            envid=job.envid,
            require_tls=job.require_tls,
        )


def _key(message_id: UUID, provider_id: UUID, numbers: Sequence[int]) -> UUID:
    return uuid5(message_id, f"{provider_id}:{','.join(map(str, numbers))}")


def _redirected(recipient: Recipient, way: Way) -> Recipient:
    return recipient if way.redirected_to is None else Recipient(way.redirected_to)
