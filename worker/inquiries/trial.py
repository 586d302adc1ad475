"""A test of a provider: built anew from its row, checked step by step, and sent one mail if that is asked for."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from email.utils import format_datetime
from typing import Final

from backing import ids
from backing.postgres.inquiries import Inquiry
from backing.postgres.routing import ProviderRow
from backing.provider_configs import BadConfig
from backing.secrets import BadSecret, Vault
from mail.delivery import Outcome, RecipientResult
from mail.errors import Unavailable
from mail.inquiries import Fate, InquiryState, Verdict
from mail.job import Recipient
from worker.guard import Forbidden
from worker.inquiries import advice
from worker.inquiries.scrub import Scrubber
from worker.providers.base import Answer, Envelope, Failed, Provider, Unsure
from worker.providers.smtp import outcomes
from worker.providers.smtp.outcomes import Step
from worker.providers.trail import Stage, Trail

# All that a test may take, and what of it is left to a mail.
DEADLINE_SECONDS: Final = 30.0
_CHECK_SHARE: Final = 0.5
_STATES: Final = {Outcome.ACCEPTED: InquiryState.DONE, Outcome.UNKNOWN: InquiryState.UNKNOWN}

# Builds the provider of a row with its opened secret; raises `BadConfig`.
Build = Callable[[ProviderRow, str | None], Awaitable[Provider]]


class Trial:
    """One test.

    Args:
        inquiry: what is asked.
        row: the provider.
        vault: opens its secret.
        build: builds it.
    """

    def __init__(self, inquiry: Inquiry, row: ProviderRow, vault: Vault, build: Build) -> None:
        self._inquiry = inquiry
        self._row = row
        self._vault = vault
        self._build = build
        self._trail = Trail()
        self._scrubber = Scrubber(None, row.config)

    async def verdict(self, seconds: float = DEADLINE_SECONDS) -> Verdict:
        """Make it, in no more time than that; whatever happens, there is an answer without secrets."""
        began, deadline = time.monotonic(), asyncio.get_running_loop().time() + seconds
        try:
            results = await self._made(deadline, seconds)
        except Unsure as unsure:
            verdict = self._failed(unsure.answer, unsure.hint)
        except Failed as failed:
            verdict = self._failed(failed.answer)
        except BadConfig as fault:
            verdict = self._failed(Answer(Outcome.MISCONFIGURED, None, None, str(fault)))
        except Forbidden:
            verdict = Verdict(state=InquiryState.FAILED, words=advice.where_it_may_not_be())
        except (OSError, ValueError) as fault:
            verdict = self._failed(outcomes.fault(Step.CONNECT, fault))
        else:
            verdict = self._passed(results)
        whole = replace(verdict, seconds=time.monotonic() - began, steps=tuple(self._trail.findings))
        return self._scrubber.verdict(whole)

    async def _made(self, deadline: float, seconds: float) -> Sequence[RecipientResult]:
        mail = self._inquiry.arguments
        async with asyncio.timeout_at(deadline):
            provider = await self._built()
        try:
            try:
                async with asyncio.timeout_at(deadline - seconds * _CHECK_SHARE if mail else deadline):
                    await provider.check(self._trail)
            except Unsure:
                if not mail:
                    raise
            return await self._sent(provider, mail["from"], mail["to"], deadline) if mail else ()
        finally:
            await provider.close()

    async def _built(self) -> Provider:
        secret = None
        if self._row.secret:
            with self._trail.step(Stage.SECRET) as said:
                try:
                    secret = await self._vault.open(self._row.id, self._row.secret)
                except (BadSecret, Unavailable) as fault:
                    raise Failed(Answer(Outcome.MISCONFIGURED, None, None, str(fault))) from fault
                said.append("opened")
            self._scrubber = Scrubber(secret, self._row.config)
        with self._trail.step(Stage.SETTINGS) as said:
            try:
                provider = await self._build(self._row, secret)
            except Unavailable as fault:
                raise Failed(Answer(Outcome.PROVIDER_DOWN, None, None, str(fault))) from fault
            said.append(f"of kind {self._row.kind}")
            return provider

    async def _sent(self, provider: Provider, sender: str, to: str, deadline: float) -> Sequence[RecipientResult]:
        envelope = Envelope(
            message_id=self._inquiry.id,
            key=self._inquiry.id,
            # A shared provider's test is no account's.
            account_id=self._inquiry.account_id or self._row.id,
            mail_from=sender,
            recipients=((0, Recipient(to)),),
        )
        with suppress(Failed), self._trail.step(Stage.SEND) as said:
            try:
                results = await provider.send(envelope, self._letter(sender, to), deadline)
            except Exception as fault:  # noqa: BLE001 - told; nobody knows how far the mail came
                results = Answer(Outcome.UNKNOWN, None, None, f"an error of ours: {type(fault).__name__}").to([0])
            if results[0].outcome is not Outcome.ACCEPTED:
                raise Failed(Answer(results[0].outcome, results[0].code, None, results[0].text))
            said.append(results[0].text)
        return results

    def _letter(self, sender: str, to: str) -> bytes:
        lines = (
            f"From: <{sender}>",
            f"To: <{to}>",
            f"Subject: Test of provider {self._row.name}",
            f"Date: {format_datetime(ids.now())}",
            f"Message-ID: <{self._inquiry.id}@{sender.rpartition('@')[2]}>",
            "Auto-Submitted: auto-generated",
            "MIME-Version: 1.0",
            "Content-Type: text/plain; charset=us-ascii",
            "",
            f"This mail was sent to test the provider {self._row.name} of smtp-proxy. Nothing is to be done.",
            "",
        )
        return "\r\n".join(lines).encode()

    def _passed(self, results: Sequence[RecipientResult]) -> Verdict:
        if not results:
            return Verdict(state=InquiryState.DONE, words=advice.passed())
        fates = tuple(self._fate(each) for each in results)
        outcome = results[0].outcome
        state = _STATES.get(outcome, InquiryState.FAILED)
        return Verdict(state=state, words=advice.of_mail(outcome), recipients=fates)

    def _fate(self, result: RecipientResult) -> Fate:
        return Fate(self._inquiry.arguments["to"], result.outcome, result.code, result.enhanced, result.text)

    def _failed(self, answer: Answer, hint: str = "") -> Verdict:
        findings = self._trail.findings
        stage = findings[-1].step if findings else Stage.SETTINGS
        return Verdict(
            state=InquiryState.FAILED, words=" ".join(filter(None, (advice.at_step(stage, answer.outcome), hint)))
        )
