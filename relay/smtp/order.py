"""Which command is legal when (RFC 5321, 4.1.4; RFC 3207; RFC 4954): what each needs, and the reply where it lacks."""

from collections.abc import Mapping
from itertools import product
from typing import Final, NamedTuple

from mail.errors import Reply
from relay.smtp.visit import Draft, Visit


class Facts(NamedTuple):
    """What is so in a session.

    Attributes:
        greeted: HELO or EHLO was said, since TLS began if it did.
        extended: it was EHLO.
        secure: TLS is on.
        signed_in: AUTH has succeeded.
        sender: MAIL was accepted, so that a transaction is open.
        recipient: RCPT was accepted.
        chunked: the message has begun to come, by BDAT.
    """

    greeted: bool
    extended: bool
    secure: bool
    signed_in: bool
    sender: bool
    recipient: bool
    chunked: bool


class Need(NamedTuple):
    """What must be so for a command: the name of a fact, what it must be, and the reply if it is not."""

    fact: str
    wanted: bool
    otherwise: Reply


GREETED: Final = Need("greeted", True, Reply(503, "5.5.1", "Send EHLO first"))
EXTENDED: Final = Need("extended", True, Reply(503, "5.5.1", "Send EHLO first"))
SECURE: Final = Need("secure", True, Reply(530, "5.7.0", "Must issue STARTTLS first"))
SECURE_FOR_AUTH: Final = Need(
    "secure", True, Reply(538, "5.7.11", "Encryption required for authentication: issue STARTTLS first")
)
PLAIN: Final = Need("secure", False, Reply(503, "5.5.1", "TLS is active already"))
SIGNED_IN: Final = Need("signed_in", True, Reply(530, "5.7.0", "Authentication required"))
STRANGER: Final = Need("signed_in", False, Reply(503, "5.5.1", "Already signed in"))
NO_MAIL: Final = Need("sender", False, Reply(503, "5.5.1", "A transaction is open; RSET ends it"))
SENDER: Final = Need("sender", True, Reply(503, "5.5.1", "Send MAIL first"))
UNCHUNKED: Final = Need("chunked", False, Reply(503, "5.5.1", "The message has begun: BDAT goes on, RSET ends it"))
RECIPIENT: Final = Need("recipient", True, Reply(503, "5.5.1", "No valid recipients"))

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


def _objection(needs: tuple[Need, ...], facts: Facts) -> Reply | None:
    return next((need.otherwise for need in needs if getattr(facts, need.fact) is not need.wanted), None)


# The answer for every command in every state, worked out once.
_OBJECTIONS: Final = {
    verb: {state: _objection(needs, Facts(*state)) for state in product((False, True), repeat=len(Facts._fields))}
    for verb, needs in NEEDS.items()
}


def objection(verb: str, session: Visit, envelope: Draft) -> Reply | None:
    """Give the reply to a command that is out of order, or None where it may go on."""
    # A tuple without names: what is looked up for every command is made for every command.
    return _OBJECTIONS[verb][
        session.host_name is not None,
        session.extended_smtp,
        session.ssl is not None,
        session.authenticated is True,
        envelope.mail_from is not None,
        bool(envelope.recipients),
        envelope.arrival is not None,
    ]
