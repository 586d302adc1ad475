"""From what a library raised to what a person can act on. Decides only; nothing here touches the network."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import aiosmtplib

from client.errors import AuthError, ClientError, MessageRefusedError, NoConnectionError, TlsError, UntrustedError
from client.replies import Reply

TlsMode = Literal["starttls", "implicit", "none"]
NOT_SMTP = -1  # aiosmtplib's code for a line that is no SMTP reply


@dataclass(frozen=True, slots=True)
class Server:
    """Whom to connect to and how; `name` is whom the certificate must be for."""

    host: str
    port: int
    tls: TlsMode
    name: str
    timeout: float = 30.0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Step:
    """What was being done when something failed; `phase` is the one it is timed under."""

    phase: Literal["connect", "tls", "ehlo", "auth", "send"]
    doing: str


def explain(error: Exception, step: Step, server: Server) -> ClientError:
    """Return the error to tell; most specific cause first."""
    causes = list(_causes(error))
    if step == HANDSHAKE and server.tls == "implicit" and any(isinstance(cause, _AFTER_HANDSHAKE) for cause in causes):
        step = GREETING
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return UntrustedError(cause.verify_code, cause.verify_message)
    for cause in causes:
        if isinstance(cause, aiosmtplib.SMTPResponseException):
            return _reply(cause, step, server)
        if isinstance(cause, ssl.SSLError):
            return _no_tls(cause, server)
    if any(isinstance(cause, TimeoutError | ConnectionAbortedError) for cause in causes):
        return _timeout(step, server)
    return _no_connection(causes, step, server)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _reply(error: aiosmtplib.SMTPResponseException, step: Step, server: Server) -> ClientError:
    reply = Reply.of(error.code, error.message)
    if error.code == NOT_SMTP:
        return NoConnectionError(f"{server} does not speak SMTP ({step.doing}): {reply.text}")
    if step.phase == "auth":
        return AuthError(f"SMTP AUTH failed: {reply}", reply)
    if step.phase == "send":
        return MessageRefusedError(f"refused ({step.doing}): {reply}", reply)
    if step.phase == "tls":
        return TlsError(f"TLS: {server} refused STARTTLS: {reply}", reply)
    return NoConnectionError(f"{server} refused the session ({step.doing}): {reply}", reply)


def _no_tls(error: ssl.SSLError, server: Server) -> TlsError:
    if error.reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNEXPECTED_MESSAGE", "PACKET_LENGTH_TOO_LONG"}:
        return TlsError(
            f"TLS: {server} does not speak TLS from the first byte ({error.reason}).\n"
            "What to do: check the port; for STARTTLS use --tls starttls."
        )
    reason = (error.reason or str(error)).replace("_", " ").lower()
    return TlsError(f"TLS: the handshake with {server} failed: {reason}")


def _timeout(step: Step, server: Server) -> NoConnectionError:
    hint = ""
    if step.doing == GREETING.doing and server.tls != "implicit":
        hint = "\nWhat to do: if this port expects TLS from the first byte, use --tls implicit."
    if step == CONNECTING:
        hint = "\nWhat to do: check host and port, and that no firewall drops the packets."
    return NoConnectionError(
        f"timeout: {server}: {step.doing} took longer than {server.timeout:g} s{_doubt(step)}{hint}"
    )


def _no_connection(causes: list[BaseException], step: Step, server: Server) -> ClientError:
    for cause in causes:
        if isinstance(cause, socket.gaierror):
            return NoConnectionError(
                f"cannot find the host '{server.host}': {cause.strerror}\n"
                "What to do: check the name and this machine's DNS."
            )
        if isinstance(cause, ConnectionRefusedError):
            return NoConnectionError(
                f"connection refused by {server}\n"
                "What to do: check that the server runs, that the port is right, and that a firewall lets you through."
            )
    if step == HANDSHAKE:
        return TlsError(f"TLS: {server} closed the connection during the handshake")
    if step.phase == "connect":
        return NoConnectionError(f"no connection to {server} ({step.doing}): {causes[-1]}")
    return NoConnectionError(f"{server} closed the connection ({step.doing}){_doubt(step)}")


def _doubt(step: Step) -> str:
    """Between the last byte and the reply nobody can know (RFC 5321 section 4.5.4.1)."""
    return "; whether the message was accepted is unknown" if step == DATA else ""


# aiosmtplib encrypts and reads the greeting in one step; these come from the second half of it.
_AFTER_HANDSHAKE = (
    aiosmtplib.SMTPReadTimeoutError,
    aiosmtplib.SMTPServerDisconnected,
    aiosmtplib.SMTPConnectResponseError,
)
CONNECTING = Step("connect", "connecting")
GREETING = Step("connect", "waiting for the greeting")
HANDSHAKE = Step("tls", "TLS handshake")
EHLO = Step("ehlo", "EHLO")
AUTH = Step("auth", "AUTH")
MAIL = Step("send", "MAIL FROM")
DATA = Step("send", "DATA")
