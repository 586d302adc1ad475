"""What senders are told of their mail by mail (RFC 3461, RFC 3464): failures, and delays where the account wants it.

Nothing here does anything: a report is written down together with the result that it tells of.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid5

from backing.postgres.claims import Claimed, Fate, Report
from mail.dsn import Original, RecipientReport, Reporter, report
from mail.job import Job
from mail.notify import Action, answerable, wanted
from mail.states import State

_ACTIONS: Final = {
    State.FAILED: Action.FAILED,
    State.EXPIRED: Action.FAILED,
    State.SUPPRESSED: Action.FAILED,
    State.DEFERRED: Action.DELAYED,
}


@dataclass(frozen=True, slots=True)
class Desk:
    """Who writes reports.

    Attributes:
        host: our name.
        sender: address in From, or empty for mailer-daemon at the domain of the one who is told, for which the
            account's providers are set up.
    """

    host: str
    sender: str = ""

    def reporter(self, mail_from: str) -> Reporter:
        """Say who writes to a sender."""
        return Reporter(self.host, self.sender or f"mailer-daemon@{mail_from.rpartition('@')[2]}")


@dataclass(frozen=True, slots=True)
class Telling:
    """What there is to tell of one claim."""

    job: Job
    claim: Claimed
    fates: Sequence[Fate]
    now: datetime

    def due(self) -> dict[int, Action]:
        """Give the recipients there is something to tell of, whoever may want to hear it."""
        wishes = self.claim.wishes
        if not wishes.send_dsn or not self.job.mail_from:
            return {}
        late = wishes.delay_notice_seconds is not None and (
            self.now - self.job.accepted_at >= timedelta(seconds=wishes.delay_notice_seconds)
        )
        told = {pending.n: pending.told for pending in self.claim.pending}
        found = {fate.n: _ACTIONS[fate.state] for fate in self.fates if fate.state in _ACTIONS}
        return {
            n: action
            for n, action in found.items()
            if wanted(self.job.recipients[n].notify, action)
            and (action is Action.FAILED or (late and told.get(n) is None))
        }


def write(telling: Telling, message: bytes, desk: Desk) -> tuple[tuple[Fate, ...], Report | None]:
    """Write the report of a claim; gives the fates with what was told of them.

    Args:
        telling: what there is to tell.
        message: the body, or nothing where it is lost.
        desk: who writes.
    """
    job = telling.job
    due = {n: action for n, action in telling.due().items() if answerable(message, job.mail_from, action)}
    if not due:
        return tuple(telling.fates), None
    concerned = [fate for fate in telling.fates if fate.n in due]
    report_id = _name(job.id, due.items())
    original = Original(
        message=message, mail_from=job.mail_from, arrived_at=job.accepted_at, ret=job.ret, envid=job.envid
    )
    several = [_of(telling, fate, due[fate.n]) for fate in concerned]
    body = report(original, several, desk.reporter(job.mail_from), report_id, telling.now)
    fates = tuple(replace(fate, dsn=due[fate.n].value) if fate.n in due else fate for fate in telling.fates)
    return fates, Report(report_id, job.mail_from, body)


def _of(telling: Telling, fate: Fate, action: Action) -> RecipientReport:
    recipient = telling.job.recipients[fate.n]
    return RecipientReport(
        address=recipient.address,
        action=action,
        status=fate.enhanced or ("4.4.7" if fate.state is State.EXPIRED else None),
        orcpt=recipient.orcpt,
        code=fate.code,
        text=fate.reply,
        attempted_at=telling.now if fate.asked else None,
        retry_until=telling.claim.expires_at,
        log_id=str(telling.job.id),
    )


def _name(message_id: UUID, told: Iterable[tuple[int, Action]]) -> UUID:
    """The same report has the same name again, so that it is sent once."""
    return uuid5(message_id, ",".join(f"{n}:{action}" for n, action in sorted(told)))
