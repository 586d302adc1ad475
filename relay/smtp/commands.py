"""Reading command lines: verb, argument, path, parameters. Pure; what is wrong is raised as the reply that says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mail.errors import Refused
from relay import replies
from relay.wire.lines import MAX_LINE

# RFC 5321 asks for 512 octets and each extension adds some (SIZE 26, SMTPUTF8 10, AUTH 500, DSN 600 ...).
MAX_COMMAND: Final = 2048
_SHORT: Final = MAX_COMMAND - len(b"\r\n")

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
# A path ends at the first ">" outside quotes. RFC 5321 forbids the space that some clients put after the colon.
# Nearly all have no quotes, which is found out at once.
_PATH = re.compile(r' *(<[^<>"\\]*>|<(?:[^<>"\\]|\\.|"(?:[^"\\]|\\.)*")*>)(?: +(.*))?')
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"
# RFC 3461, 4.2 and 4.4: xtext stands for printable US-ASCII and spaces there; all else would come out in the header of
# a report.
_PRINTABLE = r"(?:[!-*,-<>-~]|\+(?:[2-6][0-9A-F]|7[0-9A-E]))"

# Value of each parameter as it may be written, its "=" included. RFC 1870, 6152, 6531, 4954, 3461, 8689.
_MAIL_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    "SIZE": re.compile(r"=[0-9]{1,20}"),
    "BODY": re.compile(r"=(?:7BIT|8BITMIME|BINARYMIME)", re.IGNORECASE),
    "SMTPUTF8": re.compile(""),
    "AUTH": re.compile(rf"=(?:<>|{_XTEXT}+)"),
    "RET": re.compile(r"=(?:FULL|HDRS)", re.IGNORECASE),
    # RFC 3461: as it is written, the value has 100 characters at most; that of ORCPT 500.
    "ENVID": re.compile(rf"=(?=.{{1,100}}$){_PRINTABLE}+"),
    "REQUIRETLS": re.compile(""),
}
_RCPT_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    # Each keyword once, NEVER alone.
    "NOTIFY": re.compile(
        r"=(?:NEVER|(?!.*(SUCCESS|FAILURE|DELAY).*\1)(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2})",
        re.IGNORECASE,
    ),
    # RFC 6533 adds the type utf-8, whose value may hold UTF-8 text.
    "ORCPT": re.compile(
        rf"=(?=.{{1,500}}$)(?:(?i:utf-8);[!-<>-~\u00a1-\U0010ffff]+|[A-Za-z0-9\-]{{1,64}};{_PRINTABLE}+)"
    ),
}
# RFC 3030, 2: "BDAT" SP chunk-size [ SP end-marker ]. As many digits as SIZE has.
_CHUNK = re.compile(r"([0-9]{1,20})( +LAST)?", re.IGNORECASE)


class OutOfStep(Refused):
    """A refusal after which nobody knows where the next command begins; the session must end."""


@dataclass(frozen=True, slots=True)
class MailOptions:
    """What MAIL asked for beside the reverse path."""

    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    require_tls: bool = False


@dataclass(frozen=True, slots=True)
class RcptOptions:
    """What RCPT asked for beside the forward path."""

    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """How many octets follow a BDAT, and whether they are the last of the message."""

    size: int
    last: bool


NO_MAIL_OPTIONS: Final = MailOptions()
NO_RCPT_OPTIONS: Final = RcptOptions()


def parse_command(line: bytes) -> tuple[str, str]:
    """Split a line, without its CRLF, into verb and argument.

    Raises:
        Refused: 500 5.5.2; the line is too long, has control characters (a bare CR or LF is one) or is not UTF-8.
        OutOfStep: the same of a BDAT; how much follows it will never be known.
    """
    if line.isascii() and len(line) <= _SHORT:
        text = line.decode()
        # Of ASCII that is all but the control characters.
        if text.isprintable():
            head, _, argument = text.partition(" ")
            return head.upper(), argument.strip(" ")
    return _parse_unusual(line)


def _parse_unusual(line: bytes) -> tuple[str, str]:
    """Split a line that is long, not ASCII, or wrong."""
    head, _, rest = line.partition(b" ")
    verb = head.decode("ascii", "replace").upper()
    refusal = OutOfStep if verb.startswith("BDAT") else Refused
    if _CONTROLS.search(line):
        raise refusal(*replies.BAD_OCTETS)
    if len(line) + len(b"\r\n") > (MAX_LINE if verb == "AUTH" else MAX_COMMAND):
        raise refusal(*replies.LINE_TOO_LONG)
    try:
        return verb, rest.strip(b" ").decode()
    except UnicodeDecodeError:
        raise refusal(500, "5.5.2", "The command is neither ASCII nor UTF-8") from None


def parse_mail(argument: str) -> tuple[str, MailOptions]:
    """Split what follows MAIL into the reverse path, brackets included, and what its parameters ask for."""
    path, rest = _path_and_rest(argument, "FROM:", "MAIL FROM:<address>")
    if not rest:
        return path, NO_MAIL_OPTIONS
    given = _parameters(rest, _MAIL_PARAMETERS)
    body = given.get("BODY", "").upper()
    if body == "BINARYMIME":
        raise Refused(555, "5.5.4", "BODY=BINARYMIME is not offered")
    return path, MailOptions(
        size=int(given.get("SIZE", "0")),
        eight_bit=body == "8BITMIME",
        smtputf8="SMTPUTF8" in given,
        ret=_upper(given.get("RET")),
        envid=given.get("ENVID"),
        require_tls="REQUIRETLS" in given,
    )


def parse_rcpt(argument: str) -> tuple[str, RcptOptions]:
    """Split what follows RCPT into the forward path, brackets included, and what its parameters ask for."""
    path, rest = _path_and_rest(argument, "TO:", "RCPT TO:<address>")
    if not rest:
        return path, NO_RCPT_OPTIONS
    given = _parameters(rest, _RCPT_PARAMETERS)
    return path, RcptOptions(notify=_upper(given.get("NOTIFY")), orcpt=given.get("ORCPT"))


def parse_bdat(argument: str) -> Chunk:
    """Read what follows BDAT.

    Raises:
        OutOfStep: 501 5.5.4, there is no size. Octets of a message follow all the same: whoever took them for commands
            would let the author of a message give them.
    """
    match = _CHUNK.fullmatch(argument)
    if match is None:
        raise OutOfStep(501, "5.5.4", "Syntax: BDAT size [LAST]")
    return Chunk(int(match[1]), match[2] is not None)


def _path_and_rest(argument: str, keyword: str, syntax: str) -> tuple[str, str]:
    match = _PATH.fullmatch(argument, len(keyword)) if argument[: len(keyword)].upper() == keyword else None
    if match is None:
        raise Refused(501, "5.5.4", f"Syntax: {syntax}")
    return match[1], match[2] or ""


def _parameters(text: str, known: Mapping[str, re.Pattern[str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for word in text.split():
        name = word.partition("=")[0].upper()
        value = word[len(name) :]
        if name not in known:
            raise Refused(555, "5.5.4", "Parameter not recognized")
        if name in given or not known[name].fullmatch(value):
            raise Refused(501, "5.5.4", f"Bad or repeated parameter {name}")
        given[name] = value[1:]
    return given


def _upper(text: str | None) -> str | None:
    return text.upper() if text else None
