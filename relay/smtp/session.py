"""What a session is for: handing over mail."""

import time
from dataclasses import astuple
from typing import Any, Final

from typing_extensions import override

from mail.addresses import Address, parse_forward_path, parse_mailbox, parse_reverse_path
from mail.errors import Refused, Reply, Unavailable
from mail.headers import Hop
from mail.ids import sampled
from mail.job import Job, Recipient
from mail.senders import check_from_header, check_sender
from relay import replies
from relay.intake.accept import Arrival, Submission
from relay.intake.data import DataReader
from relay.smtp import order
from relay.smtp.commands import OutOfStep, parse_bdat, parse_mail, parse_rcpt
from relay.smtp.dialogue import Pending
from relay.smtp.signin import SignIn
from relay.smtp.visit import Draft
from relay.wire.protocol import Goodbye

# A chunk is read to its end, even to be refused; one that says it is larger than so many messages ends the session.
_MOST_REFUSED: Final = 2


class RelaySMTP(SignIn):
    """A session of authenticated mail submission (RFC 6409)."""

    @override
    def smtp_MAIL(self, arg: str | None) -> Pending:
        self.heed(self._register.objection())
        if not self.house.doorkeeper.fresh(self.session.signed_in):
            return self._mail_anew(arg or "")
        self._mail(arg or "")
        return None

    @override
    def smtp_RCPT(self, arg: str | None) -> Pending:
        path, options = parse_rcpt(arg or "")
        recipient = parse_forward_path(path)
        if not recipient.domain:
            recipient = self._postmaster()
        _check_smtputf8(recipient, smtputf8=self.envelope.smtp_utf8)
        address = str(recipient)
        known, account = self.envelope.recipients, self.session.signed_in.account
        if address in known:
            self.say(replies.RECIPIENT_OK)
            return None
        if len(known) >= self.house.settings.relay_max_recipients:
            raise replies.refusal(replies.TOO_MANY_RECIPIENTS)
        replies.refuse(self.house.quotas.objection(account, len(known) + 1))
        addressed = Recipient(address, options.notify, options.orcpt)
        if self.house.suppressions.unsure(account.id, address):
            return self._add_unless_suppressed(addressed)
        self._add(addressed)
        return None

    @override
    def smtp_DATA(self, arg: str) -> Pending:
        if self._full():
            raise replies.refusal(replies.TOO_MUCH_MAIL)
        arrival = self._begin()
        self.tell("354 End data with <CR><LF>.<CR><LF>")
        return self._take_lines(arrival)

    async def smtp_BDAT(self, arg: str) -> None:  # noqa: N802 - named like aiosmtpd's
        """Take a chunk (RFC 3030); a refused one is read to its end, and the message is lost with it."""
        chunk = parse_bdat(arg)
        limit = self.house.settings.relay_max_message_bytes
        if chunk.size > limit * _MOST_REFUSED:
            raise OutOfStep(*astuple(replies.too_large(limit).reply))
        objection = order.objection("BDAT", self.session, self.envelope)
        if not objection and self.envelope.arrival is None and self._full():
            objection = replies.TOO_MUCH_MAIL
        if objection:
            await self._take(chunk.size, None)
            # A later chunk may not pass for the first one: what is in its way now may be gone by then.
            self.reset()
            raise replies.refusal(objection)
        arrival = self.envelope.arrival or self._begin()
        await self._take(chunk.size, arrival)
        self._overhear(chunk.size)
        if chunk.last or arrival.content.doomed:
            await self._hand_over(arrival)
        else:
            self.say(Reply(250, "2.0.0", f"{chunk.size} octets received"))

    async def _mail_anew(self, arg: str) -> None:
        """Begin a transaction with the credential as it is now: what was changed holds from the next message on."""
        visit = self.session
        try:
            visit.credential = await self.house.doorkeeper.renew(visit.signed_in, visit.peer)
        except Refused as refusal:
            raise Goodbye("credential no longer valid", replies.SIGN_IN_AGAIN) from refusal
        self._mail(arg)

    def _mail(self, arg: str) -> None:
        account = self.session.signed_in.account
        path, options = parse_mail(arg)
        sender = parse_reverse_path(path)
        _check_smtputf8(sender, smtputf8=options.smtputf8)
        limit = self.house.settings.relay_max_message_bytes
        if options.size > limit:
            raise replies.too_large(limit)
        if self._full():
            raise replies.refusal(replies.TOO_MUCH_MAIL)
        check_sender(account, sender)
        replies.refuse(self.house.quotas.objection(account))
        self.envelope.mail_from = str(sender) if sender else ""
        self.envelope.smtp_utf8 = options.smtputf8
        self.envelope.options = options
        self.say(replies.SENDER_OK)

    async def _add_unless_suppressed(self, recipient: Recipient) -> None:
        replies.refuse(await self.house.suppressions.objection(self.session.signed_in.account.id, recipient.address))
        self._add(recipient)

    def _add(self, recipient: Recipient) -> None:
        self.envelope.recipients[recipient.address] = recipient
        self.envelope.rcpt_tos.append(recipient.address)
        self.say(replies.RECIPIENT_OK)

    async def _take_lines(self, arrival: Arrival) -> None:
        """Take the message that follows DATA."""
        reader = DataReader()
        while reader.rest is None:
            await arrival.content.write(reader.feed(await self.read_piece()))
        self.unread(reader.rest)
        self._overhear(arrival.content.size)
        await self._hand_over(arrival)

    async def _take(self, octets: int, arrival: Arrival | None) -> None:
        """Read so many octets: of the message, or of none."""
        while octets:
            piece = await self.read_piece()
            if len(piece) > octets:
                self.unread(piece[octets:])
                piece = piece[:octets]
            octets -= len(piece)
            if arrival:
                await arrival.content.write(piece)

    def _begin(self) -> Arrival:
        """Begin to take the message of the transaction."""
        submission = self._submission(self.envelope)
        arrival = self.house.intake.begin(submission, self.house.settings.relay_max_message_bytes)
        self.envelope.arrival = arrival
        return arrival

    async def _hand_over(self, arrival: Arrival) -> None:
        """End the transaction of a message that has come, or is lost."""
        self.envelope = Draft()
        began = time.monotonic()
        try:
            job = await self._commit(arrival)
        except Refused as refusal:
            self.session.refused += 1
            self._conclude("refused", refusal.reply, began, {"reason": refusal.reply.text})
        except Unavailable as fault:
            self.session.deferred += 1
            self._conclude("deferred", replies.TRY_LATER, began, {"reason": str(fault)})
        else:
            self.session.accepted += 1
            self.session.errors = 0
            self.house.metrics.bytes.inc(job.size)
            self._conclude("accepted", Reply(250, "2.0.0", f"queued as {job.id}"), began, self._facts(job))
        finally:
            arrival.content.discard()

    async def _commit(self, arrival: Arrival) -> Job:
        """Queue a message, if its account may send it; what it takes of a quota is given back where that fails."""
        account, recipients = self.session.signed_in.account, len(arrival.submission.recipients)
        arrival.content.check()
        if account.check_from:
            check_from_header(account, arrival.content.headers)
        replies.refuse(self.house.quotas.take(account, recipients))
        queued = False
        try:
            job = await self.house.intake.accept(arrival)
            queued = True
        finally:
            if not queued:
                self.house.quotas.give_back(account, recipients)
        return job

    def _postmaster(self) -> Address:
        """Whom mail to <Postmaster> goes to (RFC 5321, 4.5.1)."""
        settings = self.house.settings
        return parse_mailbox(settings.relay_postmaster or f"postmaster@{settings.relay_hostname}")

    def _overhear(self, octets: int) -> None:
        if self.house.transcripts.active:
            self.house.transcripts.content(self.session, octets)

    def _submission(self, draft: Draft) -> Submission:
        visit, options = self.session, draft.options
        tls = visit.ssl or {}
        return Submission(
            credential=visit.signed_in,
            session=visit.id,
            hop=Hop(
                helo=visit.host_name or "",
                peer=visit.peer,
                by=self.house.settings.relay_hostname,
                protocol="UTF8SMTPSA" if options.smtputf8 else "ESMTPSA",
                tls=f"{tls.get('version')} {tls.get('cipher')}",
            ),
            mail_from=draft.mail_from or "",
            recipients=tuple(draft.recipients.values()),
            smtputf8=options.smtputf8,
            eight_bit=options.eight_bit,
            ret=options.ret,
            envid=options.envid,
            require_tls=options.require_tls,
        )

    def _full(self) -> bool:
        """Whether there is no room for another message; that it was asked for is counted."""
        full = self.house.intake.full
        if full:
            self.house.metrics.shed.labels("bytes_in_flight").inc()
        return full

    def _facts(self, job: Job) -> dict[str, Any]:
        """What the log says of an accepted message; nothing, where it is not in the sample (CORE-OPS-001)."""
        if not sampled(job.id, self.house.settings.relay_log_sample):
            return {}
        return {"id": str(job.id), "size": job.size, "recipients": len(job.recipients)}

    def _conclude(self, result: str, reply: Reply, began: float, facts: dict[str, Any]) -> None:
        """Count, log and answer a message, whatever became of it; without facts there is no line."""
        seconds = time.monotonic() - began
        self.house.metrics.messages.labels(result).inc()
        self.house.metrics.accept_seconds.observe(seconds)
        if facts:
            self.log.info("message", result=result, ms=round(seconds * 1000, 1), **facts)
        self.say(reply)


def _check_smtputf8(address: Address | None, *, smtputf8: bool) -> None:
    if address and address.needs_smtputf8 and not smtputf8:
        raise replies.refusal(replies.NEEDS_SMTPUTF8)
