"""The commands of a session that carry no mail and tell no secret (RFC 5321, 4.1.1; RFC 3207)."""

from typing_extensions import override

from mail.errors import Refused
from relay import replies
from relay.smtp.dialogue import Dialogue, Pending
from relay.wire.waits import Goodbye


class Basics(Dialogue):
    """A session that can greet, begin TLS, reset and take leave."""

    @override
    def smtp_HELO(self, hostname: str) -> Pending:
        self._greet(hostname, extended=False)
        self.tell(f"250 {self.house.settings.relay_hostname}".encode("ascii"))

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
        await self.learn_tls()
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

    def _greet(self, hostname: str, *, extended: bool) -> None:
        if not hostname or " " in hostname:
            raise Refused(501, "5.5.4", "Give one name or address literal")
        self.session.host_name = hostname
        self.session.extended_smtp = extended
        self.reset()
