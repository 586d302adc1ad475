"""Which command is legal when (RFC 5321, 4.1.4; RFC 3207; RFC 4954): what each needs, and the reply where it lacks."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from mail.errors import Reply
from relay.smtp.visit import Draft, Visit


class Need(NamedTuple):
    """Something that must be so for a command, and the reply if it is not."""

    met: Callable[[Visit, Draft], bool]
    otherwise: Reply


GREETED: Final = Need(lambda session, _: session.host_name is not None, Reply(503, "5.5.1", "Send EHLO first"))
EXTENDED: Final = Need(lambda session, _: session.extended_smtp, Reply(503, "5.5.1", "Send EHLO first"))
SECURE: Final = Need(lambda session, _: session.ssl is not None, Reply(530, "5.7.0", "Must issue STARTTLS first"))
SECURE_FOR_AUTH: Final = Need(
    lambda session, _: session.ssl is not None,
    Reply(538, "5.7.11", "Encryption required for authentication: issue STARTTLS first"),
)
PLAIN: Final = Need(lambda session, _: session.ssl is None, Reply(503, "5.5.1", "TLS is active already"))
SIGNED_IN: Final = Need(
    lambda session, _: session.authenticated is True, Reply(530, "5.7.0", "Authentication required")
)
STRANGER: Final = Need(lambda session, _: session.authenticated is not True, Reply(503, "5.5.1", "Already signed in"))
NO_MAIL: Final = Need(
    lambda _, envelope: envelope.mail_from is None, Reply(503, "5.5.1", "A transaction is open; RSET ends it")
)
SENDER: Final = Need(lambda _, envelope: envelope.mail_from is not None, Reply(503, "5.5.1", "Send MAIL first"))
UNCHUNKED: Final = Need(
    lambda _, envelope: envelope.arrival is None,
    Reply(503, "5.5.1", "The message has begun: BDAT goes on, RSET ends it"),
)
RECIPIENT: Final = Need(lambda _, envelope: bool(envelope.rcpt_tos), Reply(503, "5.5.1", "No valid recipients"))

_MAILING: Final = (GREETED, SECURE, SIGNED_IN)

NEEDS: Final[Mapping[str, tuple[Need, ...]]] = {
    "HELO": (),
    "EHLO": (),
    "STARTTLS": (GREETED, PLAIN),
    "AUTH": (EXTENDED, SECURE_FOR_AUTH, STRANGER, NO_MAIL),
    "MAIL": (*_MAILING, NO_MAIL),
    "RCPT": (*_MAILING, SENDER, UNCHUNKED),
    # RFC 3030, 2: DATA and BDAT are not for the same message.
    "DATA": (*_MAILING, SENDER, UNCHUNKED, RECIPIENT),
    "BDAT": (*_MAILING, SENDER, RECIPIENT),
    "RSET": (),
    "NOOP": (),
    "VRFY": (),
    "HELP": (),
    "QUIT": (),
}
BARE: Final = frozenset({"STARTTLS", "DATA", "RSET", "QUIT"})
# What octets follow whatever the answer is: it takes them first, and asks for objections then.
LADEN: Final = frozenset({"BDAT"})

# Commands of SMTP that we know and do not have.
ABSENT: Final = frozenset({"EXPN", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML"})
# What a browser made to talk to this port would say.
FOREIGN: Final = frozenset({"GET", "POST", "PUT", "HEAD", "CONNECT", "OPTIONS", "DELETE", "PATCH"})


def objection(verb: str, session: Visit, envelope: Draft) -> Reply | None:
    """Give the reply to a command that is out of order, or None where it may go on."""
    for need in NEEDS[verb]:
        if not need.met(session, envelope):
            return need.otherwise
    return None
