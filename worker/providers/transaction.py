"""One message's way through an SMTP connection: MAIL, RCPT, DATA, and an answer for every recipient."""

import re
from collections.abc import Sequence

from mail.addresses import parse_forward_path, parse_reverse_path
from mail.delivery import Outcome, RecipientResult
from mail.errors import Refused
from mail.job import Recipient
from worker.providers import outcomes
from worker.providers.base import NO_REQUIRETLS, Answer, Envelope
from worker.providers.connection import Connection
from worker.providers.outcomes import CLOSING, Failed, Step

_ESMTP_VALUE = re.compile(r"[\x21-\x7e]+")
_START_INPUT = 354


class Stale(ConnectionError):  # noqa: N818 - a fact about a connection
    """A kept connection turned out to be dead before it had taken anything."""


class Attempt:
    """One message's way over one connection."""

    def __init__(self, envelope: Envelope, body: bytes) -> None:
        self._envelope = envelope
        self._body = body
        self._taken: list[int] = []
        self.step = Step.CONNECT
        self.results: dict[int, RecipientResult] = {}

    @property
    def open(self) -> list[tuple[int, Recipient]]:
        """The recipients without an answer."""
        return [(n, recipient) for n, recipient in self._envelope.recipients if n not in self.results]

    def answer(self, numbers: Sequence[int], answer: Answer) -> None:
        """Settle recipients."""
        self.results |= {result.n: result for result in answer.to(numbers)}

    def answer_rest(self, answer: Answer) -> None:
        """Settle the recipients that have no answer yet."""
        self.answer([n for n, _ in self.open], answer)

    def break_off(self, error: BaseException) -> None:
        """Settle what is open after a fault: only what the peer may have taken is unknown."""
        if self.step is Step.SENT:
            self.answer(self._taken, outcomes.fault(Step.SENT, error))
            self.step = Step.MAIL
        self.answer_rest(outcomes.fault(self.step, error))

    def refuse_impossible(self) -> None:
        """Settle what no SMTP peer could be asked."""
        if self._body.count(b"\n") != (line_ends := self._body.count(b"\r\n")) or self._body.count(b"\r") != line_ends:
            # RFC 5321, 2.3.8; and to some peers a bare LF ends a line, so that one message could smuggle another.
            self.answer_rest(_refusal("5.6.0", "the message has a bare CR or LF"))
        if not _valid_reverse_path(self._envelope.mail_from):
            self.answer_rest(_refusal("5.1.7", "the sender's address is malformed"))
        for n, recipient in self.open:
            if not _valid_forward_path(recipient.address):
                self.answer([n], _refusal("5.1.3", "the recipient's address is malformed"))

    async def run(self, connection: Connection) -> None:
        """Go through as many transactions as the peer's limit of recipients asks for."""
        self._refuse_unfit(connection)
        while self.open:
            await self._transaction(connection)

    def _refuse_unfit(self, connection: Connection) -> None:
        if connection.max_size and len(self._body) > connection.max_size:
            text = f"the message has {len(self._body)} octets; the peer takes {connection.max_size}"
            self.answer_rest(_refusal("5.3.4", text))
        if self._utf8 and not connection.offers("smtputf8"):
            self.answer_rest(_refusal("5.6.7", "the peer does not offer SMTPUTF8, which the message needs"))
        if self._envelope.require_tls and not connection.offers("requiretls"):
            self.answer_rest(NO_REQUIRETLS)

    @property
    def _utf8(self) -> bool:
        envelope = self._envelope
        return envelope.smtputf8 or not (
            envelope.mail_from.isascii() and all(recipient.address.isascii() for _, recipient in self.open)
        )

    async def _transaction(self, connection: Connection) -> None:
        self.step, self._taken = Step.MAIL, []
        if not await self._mail(connection):
            return
        self.step = Step.RCPT
        await self._recipients(connection)
        if not self._taken:
            await connection.command(b"RSET")
            return
        self.step = Step.DATA
        reply = await connection.command(b"DATA")
        if reply.code != _START_INPUT:
            self.answer(self._taken, outcomes.data(reply))
            await connection.command(b"RSET")
            return
        self.step = Step.BODY
        self.answer(self._taken, outcomes.final(await connection.transfer(self._body, self._sent)))
        connection.messages += 1
        self.step = Step.MAIL

    async def _mail(self, connection: Connection) -> bool:
        try:
            reply = await connection.command(*self._mail_command(connection))
        except ConnectionError as error:
            raise (Stale(str(error)) if connection.messages else error) from error
        if reply.code == CLOSING and connection.messages:
            raise Stale(reply.text)
        if not reply.good:
            self.answer_rest(outcomes.mail(reply))
        return reply.good

    async def _recipients(self, connection: Connection) -> None:
        for n, recipient in self.open:
            reply = await connection.command(*_rcpt_command(connection, recipient))
            if reply.good:
                self._taken.append(n)
            elif reply.code == CLOSING:
                raise Failed(outcomes.rcpt(reply))
            elif not outcomes.too_many(reply):
                self.answer([n], outcomes.rcpt(reply))
            elif self._taken:
                return  # the rest goes in the next transaction
            else:
                self.answer_rest(outcomes.rcpt(reply))
                return

    def _sent(self) -> None:
        self.step = Step.SENT

    def _mail_command(self, connection: Connection) -> list[bytes]:
        envelope = self._envelope
        words = [b"MAIL", b"FROM:<" + envelope.mail_from.encode() + b">"]
        if connection.offers("size"):
            words.append(f"SIZE={len(self._body)}".encode())
        if envelope.eight_bit and connection.offers("8bitmime"):
            words.append(b"BODY=8BITMIME")
        if self._utf8:
            words.append(b"SMTPUTF8")
        if envelope.require_tls:
            words.append(b"REQUIRETLS")
        return words + (_parameters(RET=envelope.ret, ENVID=envelope.envid) if connection.offers("dsn") else [])


def _rcpt_command(connection: Connection, recipient: Recipient) -> list[bytes]:
    words = [b"RCPT", b"TO:<" + recipient.address.encode() + b">"]
    return words + (_parameters(NOTIFY=recipient.notify, ORCPT=recipient.orcpt) if connection.offers("dsn") else [])


def _parameters(**values: str | None) -> list[bytes]:
    return [f"{name}={value}".encode() for name, value in values.items() if value and _ESMTP_VALUE.fullmatch(value)]


def _refusal(enhanced: str, text: str) -> Answer:
    return Answer(Outcome.PERMANENT, None, enhanced, text)


def _valid_reverse_path(path: str) -> bool:
    try:
        parse_reverse_path(f"<{path}>")
    except Refused:
        return False
    return True


def _valid_forward_path(path: str) -> bool:
    try:
        parse_forward_path(f"<{path}>")
    except Refused:
        return False
    return True
