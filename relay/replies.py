"""The replies that do not depend on what the client said, and how a reply is put on the wire."""

import re
from functools import lru_cache
from typing import Final

from mail.errors import Refused, Reply

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
# RFC 5321, 4.5.3.1.5: a reply line has at most 512 octets.
_MAX_TEXT: Final = 480
_TRANSIENT: Final = range(400, 500)

OK: Final = Reply(250, "2.0.0", "OK")
BYE: Final = Reply(221, "2.0.0", "Goodbye")
GO_AHEAD: Final = b"354 End data with <CR><LF>.<CR><LF>"
START_TLS: Final = Reply(220, "2.0.0", "Ready to start TLS")
SIGNED_IN: Final = Reply(235, "2.7.0", "Authentication succeeded")
SENDER_OK: Final = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK: Final = Reply(250, "2.1.5", "Recipient OK")
CANNOT_VERIFY: Final = Reply(252, "2.1.5", "Cannot verify the address; send to it and see")
HELP: Final = Reply(214, "2.0.0", "EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT")

IDLE: Final = Reply(421, "4.4.2", "Idle for too long, closing")
DATA_TIMEOUT: Final = Reply(421, "4.4.2", "Silence within a message for too long, closing")
TOO_SLOW: Final = Reply(421, "4.4.2", "The message comes too slowly, closing")
SIGN_IN_TIMEOUT: Final = Reply(421, "4.4.2", "Not signed in for too long, closing")
DRAINING: Final = Reply(421, "4.3.2", "Shutting down, try again")
TOO_MANY_SESSIONS: Final = Reply(421, "4.3.2", "Too many sessions, try again later")
TOO_MANY_ERRORS: Final = Reply(421, "4.7.0", "Too many errors, closing")
TOO_MANY_SIGN_INS: Final = Reply(421, "4.7.0", "Too many failed sign-ins, closing")
BROKEN: Final = Reply(421, "4.3.0", "Internal error, try again later")
TRY_LATER: Final = Reply(451, "4.3.0", "Cannot take the message now, try again later")
INTERNAL_ERROR: Final = Reply(451, "4.3.0", "Internal error, try again later")
SIGN_IN_AGAIN: Final = Reply(421, "4.7.0", "Credential no longer valid, sign in again")
AUTH_UNAVAILABLE: Final = Reply(454, "4.7.0", "Cannot check the credential now, try again later")
TOO_MUCH_MAIL: Final = Reply(452, "4.3.1", "Too much mail on its way, try again later")
TOO_MANY_RECIPIENTS: Final = Reply(452, "4.5.3", "Too many recipients, send the message to the others separately")

LINE_TOO_LONG: Final = Reply(500, "5.5.2", "Line too long")
BAD_OCTETS: Final = Reply(500, "5.5.2", "A command has no control characters and ends in CRLF")
UNKNOWN_COMMAND: Final = Reply(500, "5.5.2", "Command not recognized")
NOT_IMPLEMENTED: Final = Reply(502, "5.5.1", "Command not implemented")
NOT_SMTP: Final = Reply(554, "5.7.0", "This is not a web server")
INJECTION: Final = Reply(501, "5.5.1", "Octets after STARTTLS, closing")
BAD_CREDENTIAL: Final = Reply(535, "5.7.8", "Authentication credentials invalid")
CANCELLED: Final = Reply(501, "5.7.0", "Authentication cancelled")
NEEDS_SMTPUTF8: Final = Reply(553, "5.6.7", "A non-ASCII address needs SMTPUTF8")


def refuse(objection: Reply | None) -> None:
    """Refuse what there is an objection to.

    Raises:
        Refused: with the objection.
    """
    if objection:
        raise refusal(objection)


def refusal(reply: Reply) -> Refused:
    """Make one of these replies raisable."""
    return Refused(reply.code, reply.enhanced, reply.text)


def too_large(limit: int) -> Refused:
    """Make the refusal of a message with more octets than `limit`."""
    return Refused(552, "5.3.4", f"Message too large; the limit is {limit} octets")


def line_of(reply: Reply, session: str) -> bytes:
    """A reply on one line; one that asks to try again names the session, for whoever asks us about it."""
    line = _line(reply)
    return b"%b ref=%b" % (line, session.encode("ascii")) if reply.code in _TRANSIENT else line


@lru_cache(maxsize=256)
def _line(reply: Reply) -> bytes:
    return _CONTROLS.sub("?", str(reply))[:_MAX_TEXT].encode("ascii", "backslashreplace")


def queued(message: str) -> bytes:
    """The reply to a message that is safe, without which none is; it names it."""
    return f"250 2.0.0 queued as {message}".encode("ascii")


def greeting(hostname: str) -> bytes:
    """What a session begins with; RFC 2034 gives it no enhanced code."""
    return f"220 {hostname} ESMTP".encode("ascii")


@lru_cache(maxsize=64)
def capabilities(
    hostname: str, max_message_bytes: int, max_recipients: int, mechanisms: tuple[str, ...], *, secure: bool
) -> bytes:
    """Answer to EHLO, all its lines in one (RFC 5321, 4.1.1.1).

    BINARYMIME (RFC 3030) is not among them: what has it can only go on by BDAT, and our providers take DATA.

    Args:
        hostname: our name.
        max_message_bytes: SIZE (RFC 1870).
        max_recipients: RCPTMAX of LIMITS (RFC 9422).
        mechanisms: of AUTH, as they are offered over TLS.
        secure: whether TLS is on.
    """
    lines = [
        hostname,
        "PIPELINING",
        f"SIZE {max_message_bytes}",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        f"LIMITS RCPTMAX={max_recipients}",
    ]
    # RFC 4954, 4: AUTH is not offered where the credential would travel in the open. RFC 8689, 2: nor is REQUIRETLS.
    lines += ["REQUIRETLS", f"AUTH {' '.join(mechanisms)}"] if secure else ["STARTTLS"]
    return "\r\n".join([*(f"250-{line}" for line in lines[:-1]), f"250 {lines[-1]}"]).encode("ascii")
