"""The course of a session: greeting, one command after the other, and an end that is always said and logged."""

import asyncio
import time
from typing import Final, Protocol

import structlog
from typing_extensions import override

from mail.errors import Refused, Reply
from relay import commands, order, replies
from relay.protocol import Connection, Goodbye, LineTooLong
from relay.visit import Draft, House, Visit

MAX_ERRORS: Final = 20
_ERROR: Final = 500
# How connections were met, by why they ended; every other one was served.
_MET: Final = {"no TLS": "tls_failed", "too many sessions": "refused"}


class Register(Protocol):
    """Who keeps count of the sessions: the server."""

    @property
    def draining(self) -> bool:
        """Whether sessions are to leave."""

    def arrive(self, session: "Dialogue") -> None:
        """Begin a session's conversation."""

    def welcome(self) -> bool:
        """Whether there is room for the session that asks."""

    def leave(self, session: "Dialogue") -> None:
        """Note that a session's conversation has ended."""

    def lost(self, session: "Dialogue") -> None:
        """Note that a session's connection is closed."""


class Dialogue(Connection):
    """A session without the mail: order of commands, EHLO, STARTTLS, errors, drain.

    Args:
        house: what it leans on.
        register: who keeps count of it.
        implicit_tls: whether TLS comes before the greeting.
    """

    session: Visit
    envelope: Draft

    def __init__(self, house: House, register: Register, *, implicit_tls: bool) -> None:
        super().__init__(asyncio.get_running_loop(), house.settings.relay_idle_timeout_seconds)
        self.house = house
        self._register = register
        self._implicit_tls = implicit_tls
        self._at_rest = False
        self.envelope = Draft()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername") or ("unknown",)
        self.session = Visit(self.loop, str(peer[0]).partition("%")[0])
        self.log = structlog.get_logger().bind(session=self.session.id, peer=self.session.peer)
        if self._implicit_tls:
            self.begin_tls(self.house.certificates.current())
        self._register.arrive(self)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._register.lost(self)

    def drain(self) -> None:
        """Leave now if nothing is under way, else as soon as it is done."""
        if self._at_rest and self.envelope.mail_from is None and not self.unread_input:
            self.interrupt(Goodbye("draining", replies.DRAINING))

    async def say(self, reply: Reply) -> None:
        """Answer; errors count towards the end of the session."""
        if reply.code >= _ERROR:
            self.session.errors += 1
        await self.push(replies.text_of(reply, self.session.id))

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
            if end.reply:
                await self.say(end.reply)
            self.finish()
            self._register.leave(self)
            self._report(end.why, time.monotonic() - began)

    @override
    async def _handle_client(self) -> None:
        if self._implicit_tls:
            self.session.ssl = await self.tls_established()
        if not self._register.welcome():
            raise Goodbye("too many sessions", replies.TOO_MANY_SESSIONS)
        await self.push(replies.greeting(self.house.settings.relay_hostname))
        while True:
            if self._register.draining and self.envelope.mail_from is None:
                raise Goodbye("draining", replies.DRAINING)
            if self.session.errors >= MAX_ERRORS:
                raise Goodbye("too many errors", replies.TOO_MANY_ERRORS)
            await self._next_command()

    async def _next_command(self) -> None:
        self._at_rest = True
        try:
            line = await self.read_line()
            self._at_rest = False
            await self._obey(*commands.parse_command(line))
        except LineTooLong:
            await self.say(replies.LINE_TOO_LONG)
        except Refused as refusal:
            await self.say(refusal.reply)
        except Goodbye:
            raise
        except Exception as error:  # noqa: BLE001 - the edge of a command: logged there with its traceback
            await self.push(await self.handle_exception(error))

    async def _obey(self, verb: str, argument: str) -> None:
        if verb in order.FOREIGN:
            raise Goodbye("not SMTP", replies.NOT_SMTP)
        if verb not in order.NEEDS:
            raise replies.refusal(replies.NOT_IMPLEMENTED if verb in order.ABSENT else replies.UNKNOWN_COMMAND)
        if verb in order.BARE and argument:
            raise Refused(501, "5.5.4", f"{verb} takes no argument")
        objection = order.objection(verb, self.session, self.envelope)
        if objection:
            raise replies.refusal(objection)
        await getattr(self, f"smtp_{verb}")(argument)

    @override
    async def handle_exception(self, error: Exception) -> str:
        """Log a fault of ours; the client learns that it may try again, and nothing of what happened."""
        self.log.error("command broke", exc_info=error)
        return replies.text_of(replies.INTERNAL_ERROR, self.session.id)

    @override
    async def smtp_HELO(self, hostname: str) -> None:
        self._greet(hostname, extended=False)
        await self.push(f"250 {self.house.settings.relay_hostname}")

    @override
    async def smtp_EHLO(self, hostname: str) -> None:
        self._greet(hostname, extended=True)
        name, largest = self.house.settings.relay_hostname, self.house.settings.relay_max_message_bytes
        await self.push(replies.capabilities(name, largest, secure=self.session.ssl is not None))

    @override
    async def smtp_STARTTLS(self, arg: str) -> None:
        if self.unread_input:
            # Octets that came in the open may not pass for octets of the TLS session (RFC 3207, section 6).
            raise Goodbye("injection", replies.INJECTION)
        await self.say(replies.START_TLS)
        self.begin_tls(self.house.certificates.current())
        self.session.ssl = await self.tls_established()
        # RFC 3207, 4.2: what was learnt before TLS is forgotten.
        self.session.host_name = None
        self.session.extended_smtp = False
        self.envelope = Draft()

    @override
    async def smtp_RSET(self, arg: str) -> None:
        self.envelope = Draft()
        await self.say(replies.OK)

    @override
    async def smtp_NOOP(self, arg: str) -> None:
        await self.say(replies.OK)

    @override
    async def smtp_VRFY(self, arg: str) -> None:
        await self.say(replies.CANNOT_VERIFY)

    @override
    async def smtp_HELP(self, arg: str) -> None:
        await self.say(replies.HELP)

    @override
    async def smtp_QUIT(self, arg: str) -> None:
        raise Goodbye("quit", replies.BYE)

    def _greet(self, hostname: str, *, extended: bool) -> None:
        if not hostname or " " in hostname:
            raise Refused(501, "5.5.4", "Give one name or address literal")
        self.session.host_name = hostname
        self.session.extended_smtp = extended
        self.envelope = Draft()

    def _report(self, why: str, seconds: float) -> None:
        """Count the session and log it, unless it was a load balancer that looked whether we are there."""
        probe = not self.octets_in and why not in _MET
        self.house.metrics.connections.labels("probe" if probe else _MET.get(why, "served")).inc()
        if probe:
            return
        visit = self.session
        self.log.info(
            "session ended",
            why=why,
            seconds=round(seconds, 3),
            accepted=visit.accepted,
            refused=visit.refused,
            deferred=visit.deferred,
            errors=visit.errors,
            tls=(visit.ssl or {}).get("version") or self.tls_fault,
        )
