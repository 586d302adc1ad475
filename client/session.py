"""A session that sends: AUTH once, then message after message."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import aiosmtplib

from client.compose import Message
from client.connection import Connection
from client.dialogue import Say
from client.errors import AuthError, ClientError, MessageRefusedError
from client.explain import AUTH, DATA, MAIL, Server, Step
from client.replies import Reply
from client.tls import Trust

Mechanism = Literal["plain", "login"]
MECHANISMS: tuple[Mechanism, ...] = ("plain", "login")


@dataclass(frozen=True, slots=True)
class Login:
    """The credentials; without a mechanism the best one offered is taken."""

    user: str
    password: str = field(repr=False)
    mechanism: Mechanism | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """How to get to the point where messages can be sent."""

    server: Server
    trust: Trust
    context: ssl.SSLContext
    login: Login | None = None


@dataclass(slots=True)
class Attempt:
    """What became of one message: filled while it is sent, so that a failure leaves what was known by then."""

    message: Message | None = None
    reply: Reply | None = None
    refused: dict[str, Reply] = field(default_factory=dict)


class Session:
    """An open connection that may send."""

    def __init__(self, access: Access, say: Say) -> None:
        self.sent = 0
        self._access = access
        self._connection = Connection(access.server, access.trust, access.context, say)
        self._say = say

    @property
    def usable(self) -> bool:
        """Whether another message can go over this session."""
        return self._connection.usable

    async def open(self) -> None:
        """Connect and authenticate."""
        try:
            await self._connection.open()
            if self._access.login:
                await self._authenticate(self._access.login)
        except ClientError:
            await self._connection.close()
            raise

    async def close(self) -> None:
        """End the session politely."""
        await self._connection.close()

    def abort(self) -> None:
        """End the session at once."""
        self._connection.abort()

    def spent(self) -> dict[str, float]:
        """Return the seconds per phase since the last call."""
        spent, self._connection.spent = self._connection.spent, {}
        return spent

    async def send(self, write: Callable[[bool], Message], attempt: Attempt) -> None:
        """Write the message for this server and send it; recipients are refused one by one."""
        wire = self._connection.wire
        attempt.message = message = write(wire.supports_extension("8bitmime"))
        options = self._options(message)
        self.sent += 1
        try:
            await self._envelope(message, options, attempt)
            attempt.reply = await self._data(message)
        except MessageRefusedError:
            if wire.is_connected:
                with suppress(OSError, aiosmtplib.SMTPException):
                    await wire.rset()
            raise
        if attempt.refused:
            raise MessageRefusedError(refusals(message, attempt), next(iter(attempt.refused.values())))

    async def _authenticate(self, login: Login) -> None:
        wire = self._connection.wire
        offered = [mechanism for mechanism in MECHANISMS if mechanism in wire.server_auth_methods]
        wanted = login.mechanism or next(iter(offered), None)
        if wanted is None or wanted not in offered:
            names = " ".join(wire.server_auth_methods).upper() or "none"
            asked = f"AUTH {login.mechanism.upper()}" if login.mechanism else "AUTH PLAIN or AUTH LOGIN"
            raise AuthError(f"SMTP AUTH failed: {self._access.server} does not offer {asked} (offered: {names})")
        authenticate = wire.auth_plain if wanted == "plain" else wire.auth_login
        with self._connection.during(AUTH):
            await authenticate(login.user, login.password)

    def _options(self, message: Message) -> list[str]:
        """Return the parameters of MAIL FROM, or refuse a message that this server cannot carry."""
        wire = self._connection.wire
        options: list[str] = []
        if wire.supports_extension("size"):
            options.append(f"SIZE={len(message.raw)}")  # RFC 1870
        if message.smtputf8:
            if not wire.supports_extension("smtputf8"):
                raise MessageRefusedError("an address or header is not ASCII, and the server does not offer SMTPUTF8")
            options.append("SMTPUTF8")  # RFC 6531
        if message.eight_bit:
            if not wire.supports_extension("8bitmime"):
                raise MessageRefusedError("the message holds 8-bit text, and the server does not offer 8BITMIME")
            options.append("BODY=8BITMIME")  # RFC 6152
        return options

    async def _envelope(self, message: Message, options: list[str], attempt: Attempt) -> None:
        wire = self._connection.wire
        encoding = "utf-8" if message.smtputf8 else "ascii"
        with self._connection.during(MAIL):
            await wire.mail(message.sender, options=options, encoding=encoding)
        for recipient in message.recipients:
            with self._connection.during(Step("send", f"RCPT TO {recipient}")):
                try:
                    await wire.rcpt(recipient, encoding=encoding)
                except aiosmtplib.SMTPRecipientRefused as error:
                    attempt.refused[recipient] = Reply.of(error.code, error.message)
        if len(attempt.refused) == len(message.recipients):
            raise MessageRefusedError(refusals(message, attempt), next(iter(attempt.refused.values())))

    async def _data(self, message: Message) -> Reply:
        self._say(f"C: DATA, {len(message.raw)} bytes")
        try:
            with self._connection.during(DATA):
                response = await self._connection.wire.data(message.raw)
        except MessageRefusedError as error:
            self._say(f"S: {error.reply}")
            raise
        self._connection.wire.tell(response)
        return Reply.of(response.code, response.message)


def refusals(message: Message, attempt: Attempt) -> str:
    """Tell each refused recipient with its reply."""
    total = len(message.recipients)
    head = f"{len(attempt.refused)} of {total} recipient{'s' if total > 1 else ''} refused"
    return "\n".join((head, *(f"  {recipient}: {reply}" for recipient, reply in attempt.refused.items())))
