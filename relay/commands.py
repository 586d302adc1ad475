"""Reading command lines: verb, argument, path, parameters. Pure; what is wrong is raised as the reply that says so."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mail.errors import Refused
from relay import replies

# RFC 5321 asks for 512 octets and each extension adds some (SIZE 26, SMTPUTF8 10, AUTH 500, DSN 600 ...).
MAX_COMMAND: Final = 2048
# RFC 4954, 4: "the maximum length of ... AUTH command lines and responses is 12288 octets".
MAX_AUTH: Final = 12_288

_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]")
# A path ends at the first ">" outside quotes. RFC 5321 forbids the space that some clients put after the colon.
_PATH = re.compile(r' *(<(?:[^<>"\\]|\\.|"(?:[^"\\]|\\.)*")*>)(?: +(.*))?')
_XTEXT = r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})"

# Value of each parameter as it may be written, its "=" included. RFC 1870, 6152, 6531, 4954, 3461.
_MAIL_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    "SIZE": re.compile(r"=[0-9]{1,20}"),
    "BODY": re.compile(r"=(?:7BIT|8BITMIME)", re.IGNORECASE),
    "SMTPUTF8": re.compile(""),
    "AUTH": re.compile(rf"=(?:<>|{_XTEXT}+)"),
    "RET": re.compile(r"=(?:FULL|HDRS)", re.IGNORECASE),
    "ENVID": re.compile(rf"={_XTEXT}{{1,100}}"),
}
_RCPT_PARAMETERS: Final[Mapping[str, re.Pattern[str]]] = {
    "NOTIFY": re.compile(r"=(?:NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY)){0,2})", re.IGNORECASE),
    # RFC 6533 adds the type utf-8, whose value may hold UTF-8 text.
    "ORCPT": re.compile(
        rf"=(?:utf-8;[!-<>-~\u00a1-\U0010ffff]{{1,500}}|[A-Za-z0-9\-]{{1,64}};{_XTEXT}{{1,500}})", re.IGNORECASE
    ),
}


@dataclass(frozen=True, slots=True)
class MailOptions:
    """What MAIL asked for beside the reverse path."""

    size: int = 0
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True)
class RcptOptions:
    """What RCPT asked for beside the forward path."""

    notify: str | None = None
    orcpt: str | None = None


def parse_command(line: bytes) -> tuple[str, str]:
    """Split a line, without its CRLF, into verb and argument.

    Raises:
        Refused: 500 5.5.2; the line is too long, has control characters (a bare CR or LF is one) or is not UTF-8.
    """
    if _CONTROLS.search(line):
        raise replies.refusal(replies.BAD_OCTETS)
    head, _, rest = line.partition(b" ")
    verb = head.decode("ascii", "replace").upper()
    if len(line) + len(b"\r\n") > (MAX_AUTH if verb == "AUTH" else MAX_COMMAND):
        raise replies.refusal(replies.LINE_TOO_LONG)
    try:
        return verb, rest.strip(b" ").decode()
    except UnicodeDecodeError:
        raise Refused(500, "5.5.2", "The command is neither ASCII nor UTF-8") from None


def parse_mail(argument: str) -> tuple[str, MailOptions]:
    """Split what follows MAIL into the reverse path, brackets included, and what its parameters ask for."""
    path, rest = _path_and_rest(argument, "FROM:", "MAIL FROM:<address>")
    given = _parameters(rest, _MAIL_PARAMETERS)
    return path, MailOptions(
        size=int(given.get("SIZE", "0")),
        eight_bit=given.get("BODY", "").upper() == "8BITMIME",
        smtputf8="SMTPUTF8" in given,
        ret=given.get("RET"),
        envid=given.get("ENVID"),
    )


def parse_rcpt(argument: str) -> tuple[str, RcptOptions]:
    """Split what follows RCPT into the forward path, brackets included, and what its parameters ask for."""
    path, rest = _path_and_rest(argument, "TO:", "RCPT TO:<address>")
    given = _parameters(rest, _RCPT_PARAMETERS)
    return path, RcptOptions(notify=given.get("NOTIFY"), orcpt=given.get("ORCPT"))


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
