"""A raw message taken apart for APIs that take none: addresses, subject, texts, files, headers.

What cannot be told without loss is not told at all: such a message needs the provider's SMTP.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.errors import MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses
from typing import Final

from mail.headers import MAX_HEADER_BLOCK, header_block
from mail.senders import addresses_of

# Bounds for what a stranger may have written. The standard library looks at each line once for each multipart around
# it, and takes quadratic time for parameters and for broken encoded words.
_MAX_FIELDS: Final = 1_000
_MAX_BOUNDARIES: Final = 2_000
_MAX_DEPTH: Final = 20
_MAX_LOOKS: Final = 3_000_000
_MAX_PARAMETERS: Final = 8_192
_MAX_ENCODED: Final = 4_096
_FAULTS: Final = (ValueError, LookupError, MessageError, RecursionError, AttributeError, TypeError)

# What an API says in fields of its own, what means nothing behind it, and what tells providers whom to send to.
_LEFT_OUT: Final = re.compile(
    r"from|to|cc|bcc|subject|reply-to|return-path|received|mime-version|content-.*|resent-.*|dkim-signature|arc-.*"
    r"|authentication-results|domainkey-signature|x-smtpapi|x-sg-.*|x-pm-.*|x-postmark-.*|x-mailgun-.*|x-ses-.*",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[!-9;-~]{1,126}")


class Inexpressible(Exception):  # noqa: N818 - a fact about a message
    """The message cannot be said in the API's fields; says what of it."""


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address and the name before it."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class File:
    """An attachment, or a picture that the HTML shows by its `content_id`."""

    name: str
    media_type: str
    content: bytes = field(repr=False)
    content_id: str | None
    inline: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """A message in pieces; `headers` are the ones with no field of their own."""

    sender: Mailbox
    to: tuple[Mailbox, ...]
    cc: tuple[Mailbox, ...]
    reply_to: tuple[Mailbox, ...]
    subject: str
    text: str | None
    html: str | None
    files: tuple[File, ...]
    headers: tuple[tuple[str, str], ...]


def compose(body: bytes) -> Composed:
    """Take a message apart.

    Raises:
        Inexpressible: a part of it would be lost.
    """
    looks = body.count(b"\n") * (1 + body.lower().count(b"multipart/"))
    if len(header_block(body)) >= MAX_HEADER_BLOCK or body.count(b"\n--") > _MAX_BOUNDARIES or looks > _MAX_LOOKS:
        raise Inexpressible("its header or its number of parts is too large")
    try:
        message = BytesParser(_Part, policy=compat32).parsebytes(body)
        headers = [(name, _unfolded(value)) for name, value in message.raw_items()]
        content = _Content()
        content.take(message, 0)
        return _composed(headers, content)
    except _FAULTS as fault:
        raise Inexpressible(f"it cannot be read: {fault}") from None


class _Part(Message):
    """A part whose parameters may be looked at."""

    def set_raw(self, name: str, value: str) -> None:
        if len(value) > _MAX_PARAMETERS and name.lower().startswith("content-"):
            raise Inexpressible("a Content header is too long")
        super().set_raw(name, value)


def _composed(headers: list[tuple[str, str]], content: "_Content") -> Composed:
    if len(headers) > _MAX_FIELDS:
        raise Inexpressible("it has too many headers")
    text, html = (each if each and not each.isspace() else None for each in (content.text, content.html))
    if text is None and html is None:
        raise Inexpressible("it has no text and no HTML")
    subject = [value for name, value in headers if name.lower() == "subject"]
    return Composed(
        sender=_sender(headers),
        to=_mailboxes(headers, "to"),
        cc=_mailboxes(headers, "cc"),
        reply_to=_mailboxes(headers, "reply-to"),
        subject=_decoded(subject[0]) if subject else "",
        text=text,
        html=html,
        files=tuple(content.files),
        headers=tuple(_custom(headers)),
    )


def _sender(headers: list[tuple[str, str]]) -> Mailbox:
    """The one author, in whom the strict reader of the relay and the one for names agree."""
    found = _mailboxes(headers, "from")
    strict = [address for name, value in headers if name.lower() == "from" for address in addresses_of(value)]
    if len(found) != 1 or [f"{each.local}@{each.domain}".lower() for each in strict] != [found[0].address.lower()]:
        raise Inexpressible("its From header does not name exactly one plain address")
    return found[0]


def _mailboxes(headers: list[tuple[str, str]], wanted: str) -> tuple[Mailbox, ...]:
    values = [value for name, value in headers if name.lower() == wanted]
    return tuple(Mailbox(_decoded(name), address) for name, address in getaddresses(values) if "@" in address)


def _custom(headers: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    for name, value in headers:
        if not _LEFT_OUT.fullmatch(name):
            if not _NAME.fullmatch(name):
                raise Inexpressible("a header's name is malformed")
            yield name, _decoded(value)


def _unfolded(value: str) -> str:
    text = value.encode("ascii", "surrogateescape").decode()
    return re.sub(r"\r?\n(?=[ \t])", "", text).strip()


def _decoded(value: str) -> str:
    """Read encoded words (RFC 2047); a control character in one would be a line of its own to somebody."""
    if "=?" in value:
        if len(value) > _MAX_ENCODED:
            raise Inexpressible("a header with encoded words is too long")
        value = str(make_header(decode_header(value)))
    return "".join(char if char.isprintable() else " " for char in value)


class _Content:
    """Finds the texts and the files in a tree of parts."""

    def __init__(self) -> None:
        self.text: str | None = None
        self.html: str | None = None
        self.files: list[File] = []

    def take(self, part: "Message[str, str]", depth: int) -> None:
        """Take a part that readers see as the message."""
        kind = part.get_content_type()
        if depth > _MAX_DEPTH:
            raise Inexpressible("its parts are nested too deep")
        if part.is_multipart() and kind in {"multipart/mixed", "multipart/related"}:
            self._take_first(_children(part), depth, inline=kind == "multipart/related")
        elif part.is_multipart() and kind == "multipart/alternative":
            for child in _children(part):
                self.take(child, depth + 1)
        elif _is_file(part):
            raise Inexpressible("it has a file where its text should be")
        elif kind == "text/plain" and self.text is None:
            self.text = _text(part)
        elif kind == "text/html" and self.html is None:
            self.html = _text(part)
        else:
            raise Inexpressible(f"it has a part of type {kind} where its text should be")

    def _take_first(self, children: list["Message[str, str]"], depth: int, *, inline: bool) -> None:
        first, *others = children
        if _is_file(first):
            self._attach(first)
        else:
            self.take(first, depth + 1)
        for other in others:
            self._attach(other, inline=inline)

    def _attach(self, part: "Message[str, str]", *, inline: bool = False) -> None:
        kind = part.get_content_type()
        if part.is_multipart() or kind.startswith(("multipart/", "message/")):
            raise Inexpressible(f"it has an attachment of type {kind}")
        if kind in {"text/plain", "text/html"} and not _is_file(part):
            raise Inexpressible("it has more than one text")
        content_id = part.get("Content-ID")
        self.files.append(
            File(
                name=_decoded(part.get_filename() or "") or f"attachment-{len(self.files) + 1}",
                media_type=kind,
                content=_octets(part),
                content_id=content_id.strip().strip("<>") if isinstance(content_id, str) else None,
                inline=inline or part.get_content_disposition() == "inline",
            )
        )


def _children(part: "Message[str, str]") -> list["Message[str, str]"]:
    children = [child for child in part.get_payload() if isinstance(child, Message)]
    if part.defects or not children:
        raise Inexpressible("its structure is damaged")
    return children


def _is_file(part: "Message[str, str]") -> bool:
    return part.get_content_disposition() == "attachment" or part.get_filename() is not None


def _octets(part: "Message[str, str]") -> bytes:
    content = part.get_payload(decode=True)
    if part.defects or not isinstance(content, bytes):
        raise Inexpressible("a part's encoding is damaged")
    return content


def _text(part: "Message[str, str]") -> str:
    return _octets(part).decode(part.get_content_charset("utf-8").replace("us-ascii", "utf-8"))
