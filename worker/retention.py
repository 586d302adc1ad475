"""Forgetting in time: mail, events and the audit log go page by page; mail is archived where its account wants it."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from backing.metrics import OutboxMetrics
from backing.postgres.retention import START, Old, Owner, Records, Story
from backing.s3 import Bodies
from mail.errors import Unavailable

_PAGE: Final = 200
_ROWS: Final = 1000
# Uploads of one page at a time.
_AT_A_TIME: Final = 8


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things are kept, where an account says nothing else.

    Attributes:
        mail_days: age of finished mail.
        event_days: age of events.
        audit_days: age of what the audit log says.
        inquiry_days: age of questions about providers.
        archive: whether the stories of all accounts are archived, and not only of those that want it.
        every: seconds between sweeps.
        pause: seconds between pages, which leave the database to others.
    """

    mail_days: int
    event_days: int
    audit_days: int = 365
    archive: bool = False
    inquiry_days: int = 7
    every: float = 3600.0
    pause: float = 0.2


class Retention:
    """Removes what is old enough; any number of workers may do so at a time.

    Mail that is not finished is never touched, however old it is.

    Args:
        records: what is on record.
        bodies: where bodies of mail lie that had to wait.
        archive: where stories go.
        metrics: counts what is forgotten.
        terms: how long things are kept; may be replaced at any time.
        now: the time.
    """

    def __init__(
        self,
        records: Records,
        bodies: Bodies,
        archive: Bodies,
        metrics: OutboxMetrics,
        terms: Terms,
        now: Callable[[], datetime],
    ) -> None:
        self._records = records
        self._bodies = bodies
        self._archive = archive
        self._metrics = metrics
        self.terms = terms
        self._now = now
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable as fault:
                self._log.warning("retention put off", reason=str(fault))
            except Exception:  # noqa: BLE001 - the loop's edge: what fails now is old enough the next time, too
                self._log.exception("retention failed")
            await asyncio.sleep(self.terms.every)

    async def sweep(self) -> int:
        """Go once through all that is on record; gives how many messages were forgotten.

        Raises:
            Unavailable: the database did not answer.
        """
        total = 0
        for owner in await self._records.owners():
            try:
                total += await self._forget_mail(owner)
            except Unavailable as fault:
                # The archive of one account must not keep the mail of all the others.
                self._log.warning("mail kept", account=str(owner.account_id), reason=str(fault))
        events, changes = self._before(self.terms.event_days), self._before(self.terms.audit_days)
        asked = self._before(self.terms.inquiry_days)
        counts = {
            "event": await self._forget_pages(lambda: self._records.forget_events(events, _ROWS)),
            "change": await self._forget_pages(lambda: self._records.forget_changes(changes, _ROWS)),
            "submission": await self._forget_pages(lambda: self._records.forget_submissions(_ROWS)),
            "request": await self._forget_pages(lambda: self._records.forget_requests(_ROWS)),
            "order": await self._forget_pages(lambda: self._records.forget_orders(_ROWS)),
            "question": await self._forget_pages(lambda: self._records.forget_inquiries(asked, _ROWS)),
        }
        for what, count in counts.items():
            self._metrics.forgotten.labels(what).inc(count)
        if total or any(counts.values()):
            self._log.info("forgotten", messages=total, **{f"{what}s": count for what, count in counts.items()})
        return total

    async def _forget_mail(self, owner: Owner) -> int:
        total, at = 0, START
        days = owner.days or self.terms.mail_days
        while page := await self._records.due(owner.account_id, days, at, _PAGE):
            total += await self._forget_page(owner, page)
            if len(page) < _PAGE:
                break
            at = page[-1]
            await asyncio.sleep(self.terms.pause)
        return total

    async def _forget_page(self, owner: Owner, page: Sequence[Old]) -> int:
        """Forget a page; when its archive or its bodies fail, all of it is kept."""
        ids = [old.id for old in page]
        read_at = await self._archive_page(owner.account_id, page) if owner.archive or self.terms.archive else None
        count = await self._records.forget(owner.account_id, ids, read_at, self._bodies.delete_all)
        self._metrics.forgotten.labels("message").inc(count)
        return count

    async def _archive_page(self, account_id: UUID, page: Sequence[Old]) -> datetime | None:
        """Write down the stories of a page; gives when they were read."""
        accepted = {old.id: old.accepted_at for old in page}
        stories = await self._records.stories(account_id, list(accepted))
        slots = asyncio.Semaphore(_AT_A_TIME)

        async def store(story: Story) -> None:
            async with slots:
                await self._archive.archive(archive_key(account_id, story.id, accepted[story.id]), write_story(story))

        answers = await asyncio.gather(*map(store, stories), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        self._metrics.archived.inc(len(stories))
        return min((story.read_at for story in stories), default=None)

    async def _forget_pages(self, forget: Callable[[], Awaitable[int]]) -> int:
        """Forget page after page until one is not full."""
        total = 0
        while count := await forget():
            total += count
            if count < _ROWS:
                break
            await asyncio.sleep(self.terms.pause)
        return total

    def _before(self, days: int) -> datetime:
        return self._now() - timedelta(days=days)


def archive_key(account_id: UUID, message_id: UUID, accepted_at: datetime) -> str:
    """Where a message's story lies."""
    return f"archive/{account_id}/{accepted_at:%Y/%m/%d}/{message_id}.json.gz"


def write_story(story: Story) -> bytes:
    """A message's story as JSON lines, compressed; each says what it is: message, recipient, attempt or event."""
    lines = [json.dumps({"kind": kind, **row}, ensure_ascii=False, separators=(",", ":")) for kind, row in story.rows]
    return gzip.compress(("\n".join(lines) + "\n").encode(), mtime=0)
