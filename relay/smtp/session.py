"""What a session is for: handing over mail."""

from typing import Final

from typing_extensions import override

from mail.addresses import Address, parse_forward_path, parse_mailbox, parse_reverse_path
from mail.errors import Refused, Reply
from mail.headers import Hop
from mail.job import Recipient
from mail.senders import check_sender
from relay import replies
from relay.intake.arrival import Arrival, Submission
from relay.intake.data import DataReader
from relay.smtp import order
from relay.smtp.commands import OutOfStep, parse_bdat, parse_mail, parse_rcpt
from relay.smtp.commit import Commit
from relay.smtp.dialogue import Pending
from relay.smtp.signin import SignIn
from relay.smtp.visit import Draft
from relay.wire.waits import Goodbye

# A chunk is read to its end, even to be refused; one that says it is larger than so many messages ends the session.
_MOST_REFUSED: Final = 2


class RelaySMTP(SignIn):
    """A session of authenticated mail submission (RFC 6409)."""

    _incoming: DataReader
    _commit: Commit | None = None

    @override
    def smtp_MAIL(self, arg: str | None) -> Pending:
        if objection := self._register.load.objection:
            self.heed(objection)
        if not self.house.doorkeeper.fresh(self.session.credential):
            return self._mail_anew(arg or "")
        self._mail(arg or "")
        return None

    @override
    def smtp_RCPT(self, arg: str | None) -> Pending:
        path, options = parse_rcpt(arg or "")
        recipient = parse_forward_path(path)
        if not recipient.domain:
            recipient = self._postmaster()
        if not path.isascii():
            _check_smtputf8(recipient, smtputf8=self.envelope.smtp_utf8)
        address = str(recipient)
        known, account = self.envelope.recipients, self.account
        if address in known:
            self.say(replies.RECIPIENT_OK)
            return None
        if len(known) >= self.house.settings.relay_max_recipients:
            raise replies.refusal(replies.TOO_MANY_RECIPIENTS)
        if account.quotas:
            replies.refuse(self.house.quotas.objection(account, len(known) + 1))
        addressed = Recipient(address, options.notify, options.orcpt)
        if self.house.suppressions.unsure(account.id, address):
            return self._add_unless_suppressed(addressed)
        self._add(addressed)
        return None

    @override
    def smtp_DATA(self, arg: str) -> Pending:
        if self.house.intake.budget.full:
            raise self._no_room()
        self._begin()
        self._incoming = DataReader()
        self._taker = self._take_lines
        self.tell(replies.GO_AHEAD)

    async def smtp_BDAT(self, arg: str) -> None:  # noqa: N802 - named like aiosmtpd's
        """Take a chunk (RFC 3030); a refused one is read to its end, and the message is lost with it."""
        chunk = parse_bdat(arg)
        limit = self.house.settings.relay_max_message_bytes
        if chunk.size > limit * _MOST_REFUSED:
            raise OutOfStep(*replies.too_large(limit).reply)
        objection = order.objection("BDAT", self.session, self.envelope)
        if not objection and self.envelope.arrival is None and self.house.intake.budget.full:
            objection = self._no_room().reply
        if objection:
            await self._take(chunk.size, None)
            # A later chunk may not pass for the first one: what is in its way now may be gone by then.
            self.reset()
            raise replies.refusal(objection)
        arrival = self.envelope.arrival or self._begin()
        await self._take(chunk.size, arrival)
        if self.house.transcripts.active:
            self.house.transcripts.content(self.session, chunk.size)
        if not chunk.last and not arrival.content.doomed:
            self.say(Reply(250, "2.0.0", f"{chunk.size} octets received"))
        elif pending := self._hand_over(arrival):
            await pending

    @override
    def abandon(self) -> None:
        super().abandon()
        if self._commit:
            self._commit.abandon()

    async def _mail_anew(self, arg: str) -> None:
        """Begin a transaction with the credential as it is now: what was changed holds from the next message on."""
        visit = self.session
        try:
            visit.credential = await self.house.doorkeeper.renew(visit.signed_in, visit.peer)
            self.account = visit.credential.account
        except Refused as refusal:
            raise Goodbye("credential no longer valid", replies.SIGN_IN_AGAIN) from refusal
        self._mail(arg)

    def _mail(self, arg: str) -> None:
        account = self.account
        path, options = parse_mail(arg)
        sender = parse_reverse_path(path)
        if not path.isascii():
            _check_smtputf8(sender, smtputf8=options.smtputf8)
        limit = self.house.settings.relay_max_message_bytes
        if options.size > limit:
            raise replies.too_large(limit)
        if self.house.intake.budget.full:
            raise self._no_room()
        check_sender(account, sender)
        if account.quotas:
            replies.refuse(self.house.quotas.objection(account))
        self.envelope.mail_from = str(sender) if sender else ""
        self.envelope.smtp_utf8 = options.smtputf8
        self.envelope.options = options
        self.say(replies.SENDER_OK)

    async def _add_unless_suppressed(self, recipient: Recipient) -> None:
        replies.refuse(await self.house.suppressions.objection(self.account.id, recipient.address))
        self._add(recipient)

    def _add(self, recipient: Recipient) -> None:
        self.envelope.recipients[recipient.address] = recipient
        self.envelope.rcpt_tos.append(recipient.address)
        self.say(replies.RECIPIENT_OK)

    def _take_lines(self) -> Pending:
        """Take what has come of the message that follows DATA."""
        arrival, reader = self.envelope.arrival, self._incoming
        assert arrival  # noqa: S101 - smtp_DATA has begun it
        piece = self.take_input()
        full = arrival.content.take(reader.feed(piece))
        if reader.rest is None:
            self.keep_pace(len(piece))
            return arrival.content.store() if full else None
        self._taker = None
        if reader.rest:
            self.unread(reader.rest)
        if self.house.transcripts.active:
            self.house.transcripts.content(self.session, arrival.content.size)
        return self._store_and_hand_over(arrival) if full else self._hand_over(arrival)

    async def _store_and_hand_over(self, arrival: Arrival) -> None:
        await arrival.content.store()
        if pending := self._hand_over(arrival):
            await pending

    async def _take(self, octets: int, arrival: Arrival | None) -> None:
        """Read so many octets: of the message, or of none."""
        self.amid_chunk = True
        while octets:
            piece = await self.read_piece(octets)
            octets -= len(piece)
            if arrival:
                await arrival.content.write(piece)
        self.amid_chunk = False

    def _begin(self) -> Arrival:
        """Begin to take the message of the transaction."""
        visit, draft, settings = self.session, self.envelope, self.house.settings
        options = draft.options
        protocol = "UTF8SMTPSA" if options.smtputf8 else "ESMTPSA"
        submission = Submission(
            credential=visit.signed_in,
            session=visit.id,
            hop=Hop(visit.host_name or "", visit.peer, settings.relay_hostname, protocol, visit.tls),
            mail_from=draft.mail_from or "",
            recipients=tuple(draft.recipients.values()),
            smtputf8=options.smtputf8,
            eight_bit=options.eight_bit,
            ret=options.ret,
            envid=options.envid,
            require_tls=options.require_tls,
        )
        self._pace = None
        arrival = draft.arrival = self.house.intake.begin(submission, settings.relay_max_message_bytes)
        return arrival

    def _hand_over(self, arrival: Arrival) -> Pending:
        """End the transaction of a message that has come, or is lost; the answer comes when the queue has it."""
        self.envelope = Draft()
        commit = Commit(self, arrival)
        pending = commit.begin()
        self._commit, self.busy = commit, True
        return pending

    def answered(self, line: bytes) -> None:
        """Tell the client what became of its message, and go on with what it has said meanwhile."""
        self._commit, self.busy = None, False
        if self._finished:
            # Nobody is there any more to be told.
            return
        self.tell(line)
        self.expect(self.line_timer)
        self.heard()

    def _postmaster(self) -> Address:
        """Whom mail to <Postmaster> goes to (RFC 5321, 4.5.1)."""
        settings = self.house.settings
        return parse_mailbox(settings.relay_postmaster or f"postmaster@{settings.relay_hostname}")

    def _no_room(self) -> Refused:
        """Count that there was no room for another message; give what the client is told."""
        self.house.metrics.shed.labels("bytes_in_flight").inc()
        return replies.refusal(replies.TOO_MUCH_MAIL)


def _check_smtputf8(address: Address | None, *, smtputf8: bool) -> None:
    if address and address.needs_smtputf8 and not smtputf8:
        raise replies.refusal(replies.NEEDS_SMTPUTF8)
