"""The course of a session: greeting, one command after the other, and an end that is always said and logged."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from typing_extensions import override

from mail.errors import Refused, Reply
from relay import replies
from relay.policy.load import DRAINING, Shed
from relay.smtp import commands, order
from relay.smtp.chronicle import Chronicle
from relay.smtp.masking import masked
from relay.smtp.register import Register
from relay.smtp.visit import ERROR, Draft, House, Visit
from relay.wire.lines import LineTooLong
from relay.wire.timers import Timer
from relay.wire.waits import Goodbye

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

MAX_ERRORS: Final = 20
# Commands of one peer that are obeyed before the other sessions have their turn: about a millisecond.
_COMMANDS_IN_A_ROW: Final = 50
# There was nothing to obey.
_NOTHING: Final = object()
# What a command's method gives: None, or, where something has to be waited for, the coroutine that does it. (Any, since
# aiosmtpd has coroutines only, and what takes their place may not promise less.)
Pending: TypeAlias = Any


class Dialogue(Chronicle):
    """A session's course, without the commands themselves: their order, errors, drain.

    Commands and messages are dealt with where their octets arrive. The session's task sleeps meanwhile, and is woken
    for what has to be waited for, and for the end.

    Args:
        house: what it leans on.
        register: who keeps count of it.
        implicit_tls: whether TLS comes before the greeting.

    Attributes:
        amid_chunk: whether octets of a chunk are still to come.
    """

    envelope: Draft

    def __init__(self, house: House, register: Register, *, implicit_tls: bool) -> None:
        super().__init__(house)
        self._register = register
        self._implicit_tls = implicit_tls
        self._at_rest = False
        self._pending: Coroutine[Any, Any, None] | None = None
        # Takes the input in place of commands, while a message comes by DATA; by BDAT, a command takes it.
        self._taker: Callable[[], Pending] | None = None
        self.amid_chunk = False
        self.envelope = Draft()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._register.approach(self)
        super().connection_made(transport)

    @override
    def enter(self, peer: str, balancer: str | None) -> None:
        self.session = Visit(self.loop, peer)
        self._began = self.loop.time()
        self.know(session=self.session.id, peer=peer)
        if balancer:
            self.session.proxy = balancer
            self.know(proxy=balancer)
        if self._implicit_tls:
            self.begin_tls(self.house.certificates.current(implicit_tls=True))
        self._register.arrive(self)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._register.lost(self)

    @property
    @override
    def line_timer(self) -> Timer:
        if self.busy:
            return self._timers.commit
        if self._taker:
            return self._timers.data
        if self.session.authenticated:
            return self._timers.command
        return self._timers.before_sign_in(self.loop.time() - self._began)

    @property
    def amid_mail(self) -> bool:
        """Whether a transaction is open, or its message on its way to the queue."""
        return self.busy or self.envelope.mail_from is not None

    def drain(self) -> None:
        """Leave now if nothing is under way, else as soon as it is done."""
        if self._at_rest and not self.amid_mail and not self.unread_input:
            self.interrupt(self.shed(DRAINING, DRAINING.reason))

    def reset(self) -> None:
        """Forget the transaction and what has come of its message (RFC 5321, 4.1.1.5)."""
        self.envelope.discard()
        self.envelope = Draft()

    @override
    def tell(self, line: bytes) -> None:
        if self.house.transcripts.active:
            self.house.transcripts.server(self.session, line.decode("ascii"))
        self._output.append(line)

    def say(self, reply: Reply) -> None:
        """Answer; errors count towards the end of the session."""
        if reply.code >= ERROR:
            self.session.errors += 1
        self.tell(replies.line_of(reply, self.session.id))

    async def converse(self) -> None:
        """Serve the peer until one of us ends it."""
        began = time.monotonic()
        end = Goodbye("cut", replies.DRAINING)
        try:
            await self._handle_client()
        except Goodbye as goodbye:
            # Its traceback would keep all of the session in memory until the collector of garbage comes by.
            end = goodbye.with_traceback(None)
        except Exception:
            # The edge of a session: whatever broke it, the others go on.
            self.log.exception("session broke")
            end = Goodbye("broken", replies.BROKEN)
        finally:
            self.abandon()
            if end.reply:
                self.say(end.reply)
            self.finish()
            self._register.leave(self)
            self.report(end.why, time.monotonic() - began)

    def abandon(self) -> None:
        """Let go of what is under way: the session ends."""
        self.envelope.discard()
        if self._pending:
            self._pending.close()

    async def learn_tls(self) -> None:
        """Wait for TLS, and note what it tells of the peer."""
        facts = self.session.ssl = await self.tls_established()
        self.session.tls = f"{facts['version']} {facts['cipher']}"
        self.session.certificate_names = self.certificate_names

    @override
    async def _handle_client(self) -> None:
        if self._implicit_tls:
            await self.learn_tls()
        self.heed(self._register.welcome(self), "turned away")
        too_often = await self.house.guard.admit(self.session.peer)
        self.heed(Shed("connection_rate", too_often) if too_often else None, "turned away")
        self.tell(replies.greeting(self.house.settings.relay_hostname))
        self.expect(self.line_timer)
        while True:
            if not self._pending:
                self._obey_all()
            if self._pending:
                await self._finish_pending()
            else:
                await self._rest()

    @override
    def heard(self) -> None:
        waiter = self._waiter
        if not self._at_rest or waiter is None or waiter.done():
            super().heard()
            return
        try:
            self._obey_all()
            if self._pending or self._ended or not self._reading:
                super().heard()
            elif self._output:
                self._outbox.add(self)
        except Exception as end:  # noqa: BLE001 - what ends a session is for its task to tell
            self.interrupt(end)

    async def _rest(self) -> None:
        """Wait until there is something for the task to do."""
        self._at_rest = True
        try:
            await self._more()
        finally:
            self._at_rest = False

    def _obey_all(self) -> None:
        """Obey what has come, up to what has to wait for something; this is then pending."""
        for _ in range(_COMMANDS_IN_A_ROW):
            if self._register.dismissing or self.session.errors >= MAX_ERRORS:
                self._leave_in_time()
            if self.busy or not self._input:
                return
            try:
                pending = (self._taker or self._obey_next)()
            except Exception as error:  # noqa: BLE001 - the edge of a command: logged there with its traceback
                self._answer(error)
                pending = None
            if pending is _NOTHING:
                return
            if self._limit is self._timers.command and not self._taker and not self.busy:
                self._since = self.loop.time()
            else:
                self.expect(self.line_timer)
            if pending:
                self._pending = pending
                return
        # Nothing else would let the other sessions have their turn.
        self._pending = asyncio.sleep(0)

    def _leave_in_time(self) -> None:
        """End the session where it has no business any more, or too many mistakes."""
        if self._register.dismissing and not self.amid_mail:
            self.heed(DRAINING)
        if self.session.errors >= MAX_ERRORS:
            raise Goodbye("too many errors", replies.TOO_MANY_ERRORS)

    async def _finish_pending(self) -> None:
        assert self._pending  # noqa: S101 - the caller has looked
        pending, self._pending = self._pending, None
        try:
            await pending
        except Exception as error:  # noqa: BLE001 - the edge of a command: logged there with its traceback
            self._answer(error)
        self.expect(self.line_timer)

    def _obey_next(self) -> Pending:
        """Obey the next command, if it has come to its end."""
        line = self.take_line() if self._writable else None
        if line is None:
            return _NOTHING
        if self.house.transcripts.active:
            self.house.transcripts.client(self.session, masked(line))
        verb, argument = commands.parse_command(line)
        if verb in order.FOREIGN:
            raise Goodbye("not SMTP", replies.NOT_SMTP)
        if self._register.draining and verb != "QUIT" and not self.amid_mail:
            self.heed(DRAINING)
        if verb not in order.NEEDS:
            raise replies.refusal(replies.NOT_IMPLEMENTED if verb in order.ABSENT else replies.UNKNOWN_COMMAND)
        if argument and verb in order.BARE:
            raise Refused(501, "5.5.4", f"{verb} takes no argument")
        objection = order.objection(verb, self.session, self.envelope)
        if objection and verb not in order.LADEN:
            raise replies.refusal(objection)
        return getattr(self, f"smtp_{verb}")(argument)

    def _answer(self, error: Exception) -> None:
        """Tell the client what came of a command that failed; of a fault of ours, only that it may try again."""
        if isinstance(error, Goodbye):
            raise error
        if isinstance(error, commands.OutOfStep):
            raise Goodbye("out of step", error.reply) from None
        if isinstance(error, LineTooLong):
            self.say(replies.LINE_TOO_LONG)
        elif isinstance(error, Refused):
            self.say(error.reply)
        else:
            self.log.error("command broke", exc_info=error)
            if self._taker or self.amid_chunk:
                # What is still to come of the message may not pass for commands.
                raise Goodbye("broken", replies.BROKEN)
            self.say(replies.INTERNAL_ERROR)
