"""One SMTP transaction: MAIL, RCPT, DATA and the message, pipelined where the peer offers it (RFC 2920)."""

from collections import deque
from collections.abc import Sequence
from typing import Final

from worker.providers.base import Failed
from worker.providers.smtp import outcomes
from worker.providers.smtp.connection import Connection
from worker.providers.smtp.outcomes import Step
from worker.providers.smtp.replies import CLOSING, Reply
from worker.providers.smtp.results import Results

_START_INPUT: Final = 354


class Stale(ConnectionError):  # noqa: N818 - a fact about a connection
    """A kept connection turned out to be dead before it had taken anything."""


class Transaction:
    """Offers a message for some recipients, and settles each that the peer does not put off to the next transaction.

    Args:
        connection: to the peer.
        results: where the answers go.
        mail: the MAIL command.
        rcpts: for each recipient its number and RCPT command.
    """

    def __init__(
        self, connection: Connection, results: Results, mail: bytes, rcpts: Sequence[tuple[int, bytes]]
    ) -> None:
        self._connection = connection
        self._results = results
        self._numbers = [n for n, _ in rcpts]
        self._unsent = deque([mail, *(rcpt for _, rcpt in rcpts), b"DATA"])
        self._ahead = connection.offers("pipelining")
        self._crowded: Reply | None = None

    @property
    def crowded(self) -> bool:
        """Whether the peer took fewer recipients than it was offered."""
        return self._crowded is not None

    async def run(self, octets: bytes) -> None:
        """Go through it.

        Raises:
            Stale: the connection had ended before; nothing was taken.
            Failed: the peer closes the connection.
            OSError: the connection broke, fell silent or talked nonsense.
        """
        self._results.step, self._results.taken = Step.MAIL, []
        begun = await self._mail()
        if not (begun or self._ahead):
            return
        self._results.step = Step.RCPT
        await self._recipients(begun=begun)
        if self._results.taken or self._ahead:
            self._results.step = Step.DATA
            if await self._data():
                await self._message(octets)
                return
        if begun:
            await self._connection.command(b"RSET")

    async def _mail(self) -> bool:
        kept = self._connection.messages > 0
        try:
            reply = await self._next()
        except ConnectionError as error:
            raise (Stale(str(error)) if kept else error) from error
        if reply.code == CLOSING:
            raise Stale(reply.text) if kept else Failed(outcomes.mail(reply))
        if not reply.good:
            self._results.settle_rest(outcomes.mail(reply))
        return reply.good

    async def _recipients(self, *, begun: bool) -> None:
        for n in self._numbers:
            reply = await self._next()
            if reply.code == CLOSING:
                raise Failed(outcomes.rcpt(reply))
            if begun:
                self._hear(n, reply)
            if self._crowded and not self._ahead:
                break
        if self._crowded and not self._results.taken:
            self._results.settle_rest(outcomes.rcpt(self._crowded))

    def _hear(self, n: int, reply: Reply) -> None:
        if reply.good:
            self._results.taken.append(n)
        elif outcomes.too_many(reply):
            self._crowded = reply
        else:
            self._results.settle([n], outcomes.rcpt(reply))

    async def _data(self) -> bool:
        """Whether the message may follow."""
        while len(self._unsent) > 1:
            self._unsent.popleft()  # recipients that wait for the next transaction
        reply = await self._next()
        if reply.code == _START_INPUT:
            if self._results.taken:
                return True
            await self._connection.send_nothing()
        elif reply.code == CLOSING:
            raise Failed(outcomes.data(reply))
        else:
            self._results.settle(self._results.taken, outcomes.data(reply))
        return False

    async def _message(self, octets: bytes) -> None:
        results = self._results
        results.step = Step.BODY
        results.settle(results.taken, outcomes.final(await self._connection.transfer(octets, results.sent)))
        results.step = Step.MAIL
        self._connection.messages += 1

    async def _next(self) -> Reply:
        """The reply to the next command, which goes out with all the others if the peer takes them ahead."""
        if self._unsent:
            count = len(self._unsent) if self._ahead else 1
            self._connection.send(*(self._unsent.popleft() for _ in range(count)))
        return await self._connection.reply()
