"""The course of a session: greeting, one command after the other, and an end that is always said and logged."""

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import structlog
from typing_extensions import override

from mail.errors import Refused, Reply
from relay import replies
from relay.policy.load import DRAINING, Shed
from relay.smtp import commands, order
from relay.smtp.masking import masked
from relay.smtp.visit import Draft, House, Visit
from relay.wire.entrance import Entrance
from relay.wire.protocol import Goodbye, LineTooLong
from relay.wire.timers import Timer

if TYPE_CHECKING:
    from collections.abc import Coroutine

MAX_ERRORS: Final = 20
# Commands of one peer that are obeyed before the other sessions have their turn: about a millisecond.
_COMMANDS_IN_A_ROW: Final = 50
_ERROR: Final = 500
# How connections were met, by why they ended; every other one was served.
# What a command's method gives: None, or, where something has to be waited for, the coroutine that does it. (Any, since
# aiosmtpd has coroutines only, and what takes their place may not promise less.)
Pending: TypeAlias = Any
_MET: Final = {"no TLS": "tls_failed", "TLS timeout": "tls_failed", "turned away": "refused"}


class Register(Protocol):
    """Who keeps count of the sessions: the server."""

    @property
    def draining(self) -> bool:
        """Whether sessions are to leave at their next command."""

    @property
    def dismissing(self) -> bool:
        """Whether sessions are to leave unasked as soon as nothing is under way."""

    def approach(self, session: "Dialogue") -> None:
        """Note a connection, of which the peer may not be known yet."""

    def arrive(self, session: "Dialogue") -> None:
        """Begin a session's conversation."""

    def welcome(self, session: "Dialogue") -> Shed | None:
        """Give what there is against a new session, of which the peer is known by now."""

    def sign_in(self, session: "Dialogue") -> Shed | None:
        """Give what there is against a session of the account that it has just signed in to."""

    def objection(self) -> Shed | None:
        """Give what there is against more mail."""

    def leave(self, session: "Dialogue") -> None:
        """Note that a session's conversation has ended."""

    def lost(self, session: "Dialogue") -> None:
        """Note that a session's connection is closed."""


class Dialogue(Entrance):
    """A session without the mail: order of commands, EHLO, STARTTLS, errors, drain.

    Args:
        house: what it leans on.
        register: who keeps count of it.
        implicit_tls: whether TLS comes before the greeting.
    """

    session: Visit
    envelope: Draft

    def __init__(self, house: House, register: Register, *, implicit_tls: bool) -> None:
        terms = house.terms
        super().__init__(asyncio.get_running_loop(), terms.timers, terms.balancers)
        self.house = house
        self._register = register
        self._implicit_tls = implicit_tls
        self._at_rest = False
        self._known: dict[str, str] = {}
        self._log: Any = None
        self._pending: Coroutine[Any, Any, None] | None = None
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

    @property
    def log(self) -> Any:
        """Writes what happens, with what is known of the session; made when there is something to write."""
        if self._log is None:
            self._log = structlog.get_logger().bind(**self._known)
        return self._log

    def know(self, **facts: str) -> None:
        """Have all further log lines tell this, too."""
        self._known.update(facts)
        self._log = None

    @override
    def turned_away(self, result: str, reason: str) -> None:
        self.house.metrics.connections.labels(result).inc()
        if result != "probe":
            structlog.get_logger().warning("no client", proxy=self._balancer, reason=reason)

    @property
    @override
    def line_timer(self) -> Timer:
        if self.session.authenticated:
            return self._timers.command
        return self._timers.before_sign_in(self.loop.time() - self._began)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._register.lost(self)

    def drain(self) -> None:
        """Leave now if nothing is under way, else as soon as it is done."""
        if self._at_rest and self.envelope.mail_from is None and not self.unread_input:
            self.interrupt(self._shed(DRAINING, DRAINING.reason))

    def heed(self, objection: Shed | None, why: str | None = None) -> None:
        """End the session where there is something against it; `why` is for the log."""
        if objection:
            raise self._shed(objection, why or objection.reason)

    def reset(self) -> None:
        """Forget the transaction and what has come of its message (RFC 5321, 4.1.1.5)."""
        self.envelope.discard()
        self.envelope = Draft()

    @override
    def tell(self, line: str | bytes) -> None:
        if self.house.transcripts.active and isinstance(line, str):
            self.house.transcripts.server(self.session, line)
        super().tell(line)

    def say(self, reply: Reply) -> None:
        """Answer; errors count towards the end of the session."""
        if reply.code >= _ERROR:
            self.session.errors += 1
        self.tell(replies.text_of(reply, self.session.id))

    async def converse(self) -> None:
        """Serve the peer until one of us ends it."""
        began = time.monotonic()
        end = Goodbye("cut", replies.DRAINING)
        try:
            await self._handle_client()
        except Goodbye as goodbye:
            end = goodbye
        except Exception:
            # The edge of a session: whatever broke it, the others go on.
            self.log.exception("session broke")
            end = Goodbye("broken", replies.BROKEN)
        finally:
            self.envelope.discard()
            if self._pending:
                self._pending.close()
            if end.reply:
                self.say(end.reply)
            self.finish()
            self._register.leave(self)
            self._report(end.why, time.monotonic() - began)

    @override
    async def _handle_client(self) -> None:
        if self._implicit_tls:
            await self._learn_tls()
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
        """Obey commands where they come; the session's task is woken for what it alone can do."""
        if not (self._at_rest and self.waiting):
            super().heard()
            return
        try:
            self._obey_all()
            if self._pending or self.gone or not self._reading:
                super().heard()
            else:
                self.flush_soon()
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
        """Obey the commands that have come, up to one that has to wait for something; this is then pending."""
        for _ in range(_COMMANDS_IN_A_ROW):
            if self._register.dismissing and self.envelope.mail_from is None:
                self.heed(DRAINING)
            if self.session.errors >= MAX_ERRORS:
                raise Goodbye("too many errors", replies.TOO_MANY_ERRORS)
            try:
                line = self.take_line() if self._writable else None
                if line is None:
                    return
                self._pending = self._obey(line)
            except Exception as error:  # noqa: BLE001 - the edge of a command: logged there with its traceback
                self._answer(error)
            self.expect(self.line_timer)
            if self._pending:
                return
        # Nothing else would let the other sessions have their turn.
        self._pending = asyncio.sleep(0)

    async def _finish_pending(self) -> None:
        assert self._pending  # noqa: S101 - the caller has looked
        pending, self._pending = self._pending, None
        try:
            await pending
        except Exception as error:  # noqa: BLE001 - the edge of a command: logged there with its traceback
            self._answer(error)
        self.expect(self.line_timer)

    def _obey(self, line: bytes) -> Pending:
        if self.house.transcripts.active:
            self.house.transcripts.client(self.session, masked(line))
        verb, argument = commands.parse_command(line)
        if verb in order.FOREIGN:
            raise Goodbye("not SMTP", replies.NOT_SMTP)
        if self._register.draining and self.envelope.mail_from is None and verb != "QUIT":
            self.heed(DRAINING)
        if verb not in order.NEEDS:
            raise replies.refusal(replies.NOT_IMPLEMENTED if verb in order.ABSENT else replies.UNKNOWN_COMMAND)
        if verb in order.BARE and argument:
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
            self.tell(replies.text_of(replies.INTERNAL_ERROR, self.session.id))

    @override
    def smtp_HELO(self, hostname: str) -> Pending:
        self._greet(hostname, extended=False)
        self.tell(f"250 {self.house.settings.relay_hostname}")

    @override
    def smtp_EHLO(self, hostname: str) -> Pending:
        self._greet(hostname, extended=True)
        settings, visit = self.house.settings, self.session
        limits = (settings.relay_hostname, settings.relay_max_message_bytes, settings.relay_max_recipients)
        self.tell(replies.capabilities(*limits, visit.mechanisms, secure=visit.ssl is not None))

    @override
    async def smtp_STARTTLS(self, arg: str) -> None:
        if self.unread_input:
            # Octets that came in the open may not pass for octets of the TLS session (RFC 3207, section 6).
            raise Goodbye("injection", replies.INJECTION)
        self.say(replies.START_TLS)
        self.begin_tls(self.house.certificates.current(implicit_tls=False))
        await self._learn_tls()
        # RFC 3207, 4.2: what was learnt before TLS is forgotten.
        self.session.host_name = None
        self.session.extended_smtp = False
        self.reset()

    @override
    def smtp_RSET(self, arg: str) -> Pending:
        self.reset()
        self.say(replies.OK)

    @override
    def smtp_NOOP(self, arg: str) -> Pending:
        self.say(replies.OK)

    @override
    def smtp_VRFY(self, arg: str) -> Pending:
        if not arg:
            raise Refused(501, "5.5.4", "Syntax: VRFY address")
        self.say(replies.CANNOT_VERIFY)

    @override
    def smtp_HELP(self, arg: str) -> Pending:
        self.say(replies.HELP)

    @override
    def smtp_QUIT(self, arg: str) -> Pending:
        raise Goodbye("quit", replies.BYE)

    async def _learn_tls(self) -> None:
        self.session.ssl = await self.tls_established()
        self.session.certificate_names = self.certificate_names

    def _shed(self, objection: Shed, why: str) -> Goodbye:
        self.house.metrics.shed.labels(objection.reason).inc()
        self.know(shed=objection.reason)
        return Goodbye(why, objection.reply)

    def _greet(self, hostname: str, *, extended: bool) -> None:
        if not hostname or " " in hostname:
            raise Refused(501, "5.5.4", "Give one name or address literal")
        self.session.host_name = hostname
        self.session.extended_smtp = extended
        self.reset()

    def _report(self, why: str, seconds: float) -> None:
        """Count the session and log it, unless it was a load balancer that looked whether we are there."""
        probe = not self.octets_in and _MET.get(why) != "refused"
        self.house.metrics.connections.labels("probe" if probe else _MET.get(why, "served")).inc()
        if probe:
            return
        visit = self.session
        if self.house.transcripts.active:
            self.house.transcripts.note(visit, f"session ended: {why}")
        tls = visit.ssl or {}
        self.log.info(
            "session ended",
            why=why,
            seconds=round(seconds, 3),
            accepted=visit.accepted,
            refused=visit.refused,
            deferred=visit.deferred,
            errors=visit.errors,
            tls=tls.get("version") or self.tls_fault,
            **{name: tls[name] for name in ("cipher", "sni") if tls.get(name)},
        )
