"""Answers what is asked about providers: a few questions at a time, each within its time, each taken by one worker."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from backing.aws import Aws
from backing.notices import Notice
from backing.postgres.inquiries import Inquiries, Inquiry
from backing.postgres.routing import ProviderRow
from backing.secrets import Vault
from backing.stop import Stop
from mail.endpoints import Network
from mail.errors import Unavailable
from mail.inquiries import InquiryState, Verdict
from worker.inquiries.reseal import resealed
from worker.inquiries.trial import DEADLINE_SECONDS, Trial
from worker.providers.base import Provider
from worker.providers.means import Means
from worker.providers.registry import build, kinds
from worker.providers.web import http_session

_AT_ONCE: Final = 4
_GONE: Final = "What it was about is not there any more."
_FAULT: Final = "An error of ours; the worker's log has it, by the id of this."


@dataclass(frozen=True, slots=True)
class Tools:
    """What answers are found with.

    Attributes:
        vault: opens and seals secrets.
        aws: the worker's own credentials.
        allowed: networks that providers may be in beside the public internet.
        context: what TLS verifies APIs with; the system's authorities if None.
    """

    vault: Vault
    aws: Aws
    allowed: Sequence[Network] = ()
    context: ssl.SSLContext | None = None


class Clerk:
    """Answers questions; any number of workers may do so at a time.

    Args:
        inquiries: where they are.
        tools: what they are answered with.
        every: seconds between looks where no notice comes.
        deadline: seconds for one answer.
    """

    def __init__(
        self, inquiries: Inquiries, tools: Tools, every: float = 3.0, deadline: float = DEADLINE_SECONDS
    ) -> None:
        self._inquiries = inquiries
        self._tools = tools
        self._every = every
        self._deadline = deadline
        self._busy = 0
        self._bell = asyncio.Event()
        self._log = structlog.get_logger()

    def hear(self, notice: Notice) -> None:
        """Hear that something was asked."""
        if notice.kind == "inquiry":
            self._bell.set()

    @asynccontextmanager
    async def running(self, stop: Stop) -> AsyncIterator[None]:
        """Answer until the block ends; what is in hand then is answered still, unless there is no time to wait."""
        async with asyncio.TaskGroup() as tasks:
            answering = tasks.create_task(self._run(stop.soon))
            try:
                yield
                if stop.soon.is_set():
                    # It need not wait for its next look to see that there is none.
                    self._bell.set()
                    hurry = tasks.create_task(stop.now.wait())
                    await asyncio.wait({answering, hurry}, return_when=asyncio.FIRST_COMPLETED)
                    hurry.cancel()
            finally:
                answering.cancel()

    async def _run(self, stop: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as tasks:
            while not stop.is_set():
                self._bell.clear()
                for inquiry in await self._taken():
                    self._busy += 1
                    tasks.create_task(self._answer(inquiry))
                await self._pause()

    async def _taken(self) -> list[Inquiry]:
        try:
            return await self._inquiries.take(_AT_ONCE - self._busy) if self._busy < _AT_ONCE else []
        except Unavailable as fault:
            self._log.warning("questions put off", reason=str(fault))
        except Exception:  # noqa: BLE001 - the loop's edge: what waits must not wait for a restart
            self._log.exception("questions not taken")
        return []

    async def _answer(self, inquiry: Inquiry) -> None:
        try:
            verdict = await self._verdict(inquiry)
            kept = await self._inquiries.record(inquiry, verdict)
            facts = {"inquiry": str(inquiry.id), "question": inquiry.kind, "state": verdict.state, "kept": kept}
            self._log.info("question answered", **facts, seconds=round(verdict.seconds, 3))
        except Unavailable as fault:
            # Its lease brings it back, or answers it.
            self._log.warning("answer not written down", inquiry=str(inquiry.id), reason=str(fault))
        except Exception:  # noqa: BLE001 - as above
            self._log.exception("answer not written down", inquiry=str(inquiry.id))
        finally:
            self._busy -= 1
            self._bell.set()

    async def _verdict(self, inquiry: Inquiry) -> Verdict:
        try:
            if inquiry.subject is None:
                return Verdict(state=InquiryState.FAILED, words=_GONE)
            if inquiry.kind == "test" and isinstance(inquiry.subject, ProviderRow):
                return await self._tested(inquiry, inquiry.subject)
            async with asyncio.timeout(self._deadline):
                return await resealed(inquiry, self._inquiries, self._tools.vault)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - the edge of one question: the others go on
            self._log.exception("question not answered", inquiry=str(inquiry.id))
            return Verdict(state=_after_fault(inquiry), words=_FAULT)

    async def _tested(self, inquiry: Inquiry, row: ProviderRow) -> Verdict:
        # No connection is shared with mail: what is kept open proves nothing.
        tools = self._tools
        async with http_session(tools.allowed, tools.context) as http, http_session(None, tools.context) as own:
            known = kinds(Means(tools.aws, http, own, tools.allowed, tools.context))

            async def built(row: ProviderRow, secret: str | None) -> Provider:
                return await build(known, row, secret)

            return await Trial(inquiry, row, self._tools.vault, built).verdict(self._deadline)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every):
                await self._bell.wait()
        except TimeoutError:
            return


def _after_fault(inquiry: Inquiry) -> InquiryState:
    """Nobody knows how far a mail came when something of ours went wrong."""
    return InquiryState.UNKNOWN if inquiry.arguments else InquiryState.FAILED
