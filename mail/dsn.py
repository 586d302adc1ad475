"""Delivery status notifications (RFC 3464; RFC 6533 where addresses are not ASCII), put together as text.

What peers and clients said is cleaned of control characters before it becomes part of a report, so it cannot begin a
field, a part or a line of its own.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from textwrap import wrap
from typing import Final
from uuid import UUID

from mail.headers import find_headers
from mail.notify import Action
from mail.splice import header_end, outgoing
from mail.transfer import quoted_printable

# Larger messages come back as their header, whatever RET says; a report need not repeat 40 MB.
MAX_RETURNED: Final = 1_048_576
MAX_HEADER: Final = 65_536
_MAX_TEXT: Final = 500
_MAX_ADDRESS: Final = 900  # octets, so that its line is not too long
_WIDTH: Final = 76

_STATUS: Final = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_HOST: Final = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_MESSAGE_ID: Final = re.compile(r"<[!-;=?-~]{1,250}>")
_HEXCHAR: Final = re.compile(r"\+([0-9A-F]{2})")
_UNICODE_CHAR: Final = re.compile(r"\\x\{([0-9A-F]{2,6})\}")
_MAX_CODE_POINT: Final = 0x10FFFF
# What can stand in a part as it is.
_SIMPLE: Final = re.compile(rb"(?:[\t\x20-\x7e]{0,998}+\r\n)*+")
_UNKNOWN: Final = {Action.FAILED: "5.0.0", Action.DELAYED: "4.0.0"}
_SUBJECT: Final = {Action.FAILED: "Your mail could not be delivered", Action.DELAYED: "Your mail is delayed"}
_HEADING: Final = {
    Action.FAILED: "Your message could not be delivered to these recipients, and is not tried again:",
    Action.DELAYED: "Your message is not delivered to these recipients yet. It is tried again; do not send it again:",
    Action.RELAYED: "Your message was handed to a server that does not confirm delivery, for these recipients:",
    Action.EXPANDED: "Your message was handed on to the members of these lists:",
    Action.DELIVERED: "Your message was delivered to these recipients:",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """The message that is reported about.

    Attributes:
        message: as we have it.
        mail_from: whom the report goes to.
        ret: FULL or HDRS, or None.  envid: ENVID as it was given, or None (RFC 3461).
    """

    message: bytes = field(repr=False)
    mail_from: str
    arrived_at: datetime
    ret: str | None = None
    envid: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientReport:
    """What became of it for one recipient.

    Attributes:
        status: the enhanced status code; a general one stands for what is none.
        orcpt: ORCPT as it was given, or None.
        remote_mta: the peer's host name, or None.
        code: the SMTP reply code, or None where there was no SMTP reply.
        text: the peer's words, or ours.
        attempted_at: when it was tried last.  retry_until: when it will be given up; told of a delay only.
        log_id: under what our log tells more.
    """

    address: str
    action: Action
    status: str | None
    orcpt: str | None = None
    remote_mta: str | None = None
    code: int | None = None
    text: str = ""
    attempted_at: datetime | None = None
    retry_until: datetime | None = None
    log_id: str | None = None


@dataclass(frozen=True, slots=True)
class Reporter:
    """Who reports: our host name, and the address in From."""

    host: str
    sender: str


def report(
    original: Original, recipients: Sequence[RecipientReport], reporter: Reporter, report_id: UUID, now: datetime
) -> bytes:
    """Write one report about any number of recipients; it is to be sent from the null sender.

    It has octets above 127 only where addresses have, or a message that comes back in full.

    Args:
        original: the message.
        recipients: at least one.
        reporter: who we are.
        report_id: becomes its Message-ID.
        now: its Date.
    """
    worst = next(action for action in Action if any(each.action is action for each in recipients))
    # Nobody can put the digest of a text into that text; no more of the message than this comes back.
    boundary = "=_" + hashlib.sha256(report_id.bytes + original.message[:MAX_RETURNED]).hexdigest()[:40]
    international = not all(each.address.isascii() and _decoded(each.orcpt).isascii() for each in recipients)
    parts = (
        _text_part(recipients, reporter),
        _status_part(original, recipients, reporter, international=international),
        _returned_part(original, international=international),
    )
    head = [
        f"From: Mail Delivery System <{_plain(reporter.sender)}>",
        f"To: <{_plain(original.mail_from)}>",
        f"Subject: {_SUBJECT.get(worst, 'Delivery report')}",
        f"Date: {_date(now)}",
        f"Message-ID: <{report_id}@{reporter.host}>",
        *_thread(original.message),
        "Auto-Submitted: auto-replied",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary="{boundary}"',
        *(() if all(part.isascii() for part in parts) else ("Content-Transfer-Encoding: 8bit",)),
    ]
    mark = f"--{boundary}".encode()
    pieces = ["\r\n".join(head).encode(), b"\r\n\r\n"]
    for part in parts:
        pieces += [mark, b"\r\n", part, b"\r\n"]
    return b"".join([*pieces, mark, b"--\r\n"])


def _thread(message: bytes) -> Iterator[str]:
    (message_id,) = find_headers(message[: header_end(message)][:MAX_HEADER], "Message-ID")
    if message_id and _MESSAGE_ID.fullmatch(message_id):
        yield f"In-Reply-To: {message_id}"
        yield f"References: {message_id}"


def _text_part(recipients: Sequence[RecipientReport], reporter: Reporter) -> bytes:
    lines = [f"This is the mail system at {reporter.host}."]
    for action in Action:
        concerned = [each for each in recipients if each.action is action]
        if concerned:
            lines += ["", *_wrapped(_HEADING[action], "", ""), ""]
        for each in concerned:
            lines += [f"  <{_plain(each.address)}>"]
            lines += _wrapped(_words(each), "    ", "    ")
    content = "".join(f"{line}\r\n" for line in lines).encode()
    return _readable("text/plain; charset=" + ("us-ascii" if content.isascii() else "utf-8"), content)


def _status_part(
    original: Original, recipients: Sequence[RecipientReport], reporter: Reporter, *, international: bool
) -> bytes:
    blocks = ["".join(_message_lines(original, reporter)), *("".join(_recipient_lines(each)) for each in recipients)]
    content = "\r\n".join(blocks)
    if international:
        return _part("message/global-delivery-status", content.encode(), "8bit")
    return _part("message/delivery-status", content.encode("ascii", "replace"), "7bit")


def _message_lines(original: Original, reporter: Reporter) -> Iterator[str]:
    if original.envid:
        yield _line("Original-Envelope-Id", _ascii(_plain(_xtext(original.envid))))
    yield _line("Reporting-MTA", f"dns; {reporter.host}")
    yield _line("Arrival-Date", _date(original.arrived_at))


def _recipient_lines(each: RecipientReport) -> Iterator[str]:
    kind, _, address = _decoded(each.orcpt).partition(";")
    if address:
        yield _line("Original-Recipient", f"{kind}; {address}")
    yield _line("Final-Recipient", _typed(_plain(each.address)))
    yield _line("Action", each.action)
    yield _line("Status", _status(each))
    if each.remote_mta and _HOST.fullmatch(each.remote_mta):
        yield _line("Remote-MTA", f"dns; {each.remote_mta}")
    if each.text or each.code:
        # What is no SMTP reply has a type of its own (RFC 3464, 2.1.1).
        kind = "smtp" if each.code else "x-smtp-proxy"
        yield from (f"{line}\r\n" for line in _wrapped(f"Diagnostic-Code: {kind}; {_words(each)}", "", " "))
    if each.attempted_at:
        yield _line("Last-Attempt-Date", _date(each.attempted_at))
    if each.log_id:
        yield _line("Final-Log-Id", _plain(each.log_id))
    if each.retry_until and each.action is Action.DELAYED:
        yield _line("Will-Retry-Until", _date(each.retry_until))


def _returned_part(original: Original, *, international: bool) -> bytes:
    """The message where it was asked for and is not too large, else its header."""
    message = original.message
    block = outgoing(message[: header_end(message)])
    utf8 = international and not block.isascii() and _is_utf8(block)
    if original.ret == "FULL" and len(message) <= MAX_RETURNED:
        content = outgoing(message)
        return _part("message/global" if utf8 else "message/rfc822", content, "7bit" if content.isascii() else "8bit")
    if len(block) > MAX_HEADER:
        block = block[: block.rfind(b"\n", 0, MAX_HEADER) + 1]
    return _readable("message/global-headers" if utf8 else "text/rfc822-headers", block)


def _readable(kind: str, content: bytes) -> bytes:
    """A part that has to survive any way (RFC 6522, 4)."""
    if _SIMPLE.fullmatch(content):
        return _part(kind, content, "7bit")
    return _part(kind, quoted_printable(content), "quoted-printable")


def _part(kind: str, content: bytes, encoding: str) -> bytes:
    return f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode() + content


def _wrapped(text: str, first: str, others: str) -> list[str]:
    """Lines that make the text again when they are joined; only words outside ASCII, with their many octets, break."""
    long = not text.isascii()
    return wrap(
        text, _WIDTH, initial_indent=first, subsequent_indent=others, break_long_words=long, break_on_hyphens=False
    )


def _line(name: str, value: str) -> str:
    return f"{name}: {value}\r\n"


def _words(each: RecipientReport) -> str:
    """The reply as the peer gave it, its codes once."""
    text = _clean(each.text)
    status = each.status or ""
    codes = [str(each.code)] if each.code and not text.startswith(str(each.code)) else []
    if codes and _STATUS.fullmatch(status) and not text.startswith(status):
        codes.append(status)
    return " ".join([*codes, text]).strip()


def _status(each: RecipientReport) -> str:
    if each.status and _STATUS.fullmatch(each.status):
        return each.status
    return _UNKNOWN.get(each.action, "2.0.0")


def _typed(address: str) -> str:
    return f"{'rfc822' if address.isascii() else 'utf-8'}; {address}"


def _decoded(orcpt: str | None) -> str:
    """ORCPT as the client's user wrote it (RFC 3461, 4.2; RFC 6533, 3), `type;address`."""
    kind, _, encoded = (orcpt or "").partition(";")
    text = _xtext(encoded)
    address = _UNICODE_CHAR.sub(_character, text) if kind.lower() == "utf-8" else _ascii(text)
    kind = _ascii(_plain(kind[:40]))
    return f"{kind};{_plain(address)}" if kind and address else ""


def _xtext(text: str) -> str:
    """RFC 3461, 4."""
    return _HEXCHAR.sub(lambda match: chr(int(match[1], 16)), text)


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number <= _MAX_CODE_POINT else match[0]


def _clean(text: str) -> str:
    """Words on one line, with no control character, not endless."""
    return " ".join("".join(char if char.isprintable() else " " for char in text[: _MAX_TEXT * 2]).split())[:_MAX_TEXT]


def _plain(address: str) -> str:
    """An address or a name with no control character, not endless, otherwise as it is."""
    readable = "".join(char if char.isprintable() else "?" for char in address[:_MAX_ADDRESS])
    return readable.encode()[:_MAX_ADDRESS].decode("utf-8", "ignore")


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def _date(moment: datetime) -> str:
    return format_datetime(moment.astimezone(UTC))


def _is_utf8(octets: bytes) -> bool:
    try:
        octets.decode()
    except UnicodeDecodeError:
        return False
    return True
