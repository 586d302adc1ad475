"""One message's way to one peer: refused if it cannot go, made fit if it can, in as many transactions as it takes."""

import asyncio
from collections.abc import Callable

from mail.delivery import Outcome
from worker.providers.base import NO_REQUIRETLS, Answer, Envelope
from worker.providers.signing import Sign, unsigned
from worker.providers.smtp import commands
from worker.providers.smtp.connection import Connection
from worker.providers.smtp.content import has_bare_line_end, needs_recoding
from worker.providers.smtp.results import Results
from worker.providers.smtp.transaction import Transaction

# Gives a message in lines of ASCII that every peer takes, or None where that would break its signature.
Recode = Callable[[bytes], bytes | None]


def cannot_recode(_: bytes) -> None:
    """A worker that can recode nothing."""


class Attempt:
    """One message's way to one peer.

    Args:
        envelope: who it is from and for.
        body: the message.
        recode: makes it fit for a peer that cannot take it as it is.
        sign: signs it as the peer gets it.
    """

    def __init__(self, envelope: Envelope, body: bytes, recode: Recode, sign: Sign = unsigned) -> None:
        self._envelope = envelope
        self._body = self._octets = body
        self._recoded = False
        self._recode = recode
        self._sign = sign
        self.results = Results(envelope.recipients)

    def refuse_impossible(self) -> None:
        """Settle what no SMTP peer could be asked."""
        results = self.results
        if has_bare_line_end(self._body):
            results.settle_rest(_refusal(Outcome.PERMANENT, "5.6.0", "the message has a bare CR or LF"))
        if not commands.valid_reverse_path(self._envelope.mail_from):
            results.settle_rest(_refusal(Outcome.PERMANENT, "5.1.7", "the sender's address is malformed"))
        malformed = [n for n, recipient in results.open if not commands.valid_forward_path(recipient.address)]
        results.settle(malformed, _refusal(Outcome.PERMANENT, "5.1.3", "the recipient's address is malformed"))

    async def run(self, connection: Connection) -> None:
        """Go through as many transactions as the peer's limit of recipients asks for."""
        await self._fit(connection)
        self._refuse_unfit(connection)
        most, results = connection.limit("RCPTMAX"), self.results
        while batch := results.open[:most]:
            rcpts = [(n, commands.rcpt(recipient, connection.extensions)) for n, recipient in batch]
            transaction = Transaction(connection, results, self._mail(connection), rcpts)
            await transaction.run(self._octets)
            if transaction.crowded:
                most = len(results.taken)

    async def _fit(self, connection: Connection) -> None:
        """Write the message as this peer can take it, if it cannot take it as it is, and sign what came of it."""
        octets, eight_bit = self._body, connection.offers("8bitmime")
        if needs_recoding(octets, eight_bit=eight_bit):
            recoded = await asyncio.to_thread(self._recode, octets)
            if recoded is None and (eight_bit or octets.isascii()):
                pass  # only its lines are too long; most peers take them, and a signature is worth the try
            elif recoded is None or has_bare_line_end(recoded):
                text = "conversion not possible without breaking its signature"
                self.results.settle_rest(_refusal(Outcome.MESSAGE_PERMANENT, "5.6.3", text))
                return
            else:
                octets = recoded
        self._recoded = octets is not self._body
        self._octets = await self._sign(octets)

    def _refuse_unfit(self, connection: Connection) -> None:
        size, most = len(self._octets), connection.max_size
        if most and size > most:
            text = f"the message has {size} octets; the peer takes {most}"
            self.results.settle_rest(_refusal(Outcome.MESSAGE_PERMANENT, "5.3.4", text))
        if self._utf8 and not connection.offers("smtputf8"):
            text = "the peer does not offer SMTPUTF8, which the message needs"
            self.results.settle_rest(_refusal(Outcome.MESSAGE_PERMANENT, "5.6.7", text))
        if self._envelope.require_tls and not connection.offers("requiretls"):
            self.results.settle_rest(NO_REQUIRETLS)

    def _mail(self, connection: Connection) -> bytes:
        return commands.mail(
            self._envelope,
            connection.extensions,
            len(self._octets),
            eight_bit=self._envelope.eight_bit and not self._recoded,
            utf8=self._utf8,
        )

    @property
    def _utf8(self) -> bool:
        envelope = self._envelope
        return envelope.smtputf8 or not (
            envelope.mail_from.isascii() and all(recipient.address.isascii() for _, recipient in self.results.open)
        )


def _refusal(outcome: Outcome, enhanced: str, text: str) -> Answer:
    return Answer(outcome, None, enhanced, text)
