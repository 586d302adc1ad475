"""A message that is submitted as JSON, and the octets that it becomes."""

import base64
import binascii
import re
from datetime import datetime
from email.errors import HeaderParseError
from email.headerregistry import Address as Mailbox
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Annotated, Final
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from mail.addresses import Address, parse_mailbox
from mail.errors import Refused
from mail.markers import MARKER, STREAM_HEADER, TAG_HEADER
from web.api.models import Body

_OWN_HEADER: Final = re.compile(r"X-[A-Za-z0-9-]{1,60}|List-[A-Za-z-]{1,30}|In-Reply-To|References|Auto-Submitted")
_MEDIA_TYPE: Final = re.compile(r"[a-z0-9][a-z0-9.+-]{0,60}/[a-z0-9][a-z0-9.+-]{0,60}")
MAX_RECIPIENTS: Final = 1000


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("no control characters: it is one line")
    return text


def _address(text: str) -> str:
    try:
        return str(parse_mailbox(text))
    except Refused as refused:
        raise ValueError(refused.reply.text) from None


def _header(text: str) -> str:
    if not _OWN_HEADER.fullmatch(text):
        raise ValueError(
            "may be X-..., List-..., In-Reply-To, References or Auto-Submitted; others have their own field"
        )
    return text


def _media_type(text: str) -> str:
    if not _MEDIA_TYPE.fullmatch(text) or text.startswith(("multipart/", "message/")):
        raise ValueError("is no media type of a single part, as in application/pdf")
    return text


def _base64(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise ValueError("is not base64") from None
    return text


Line = Annotated[str, Field(max_length=998), AfterValidator(_one_line)]
Marker = Annotated[str, Field(pattern=f"^{MARKER.pattern}$")]


class Party(Body):
    """Somebody who sends or gets mail."""

    address: Annotated[str, Field(max_length=320), AfterValidator(_address)]
    name: Line = ""


class Attachment(Body):
    """A file that goes with it."""

    filename: Annotated[Line, Field(min_length=1, max_length=255)]
    content_type: Annotated[str, AfterValidator(_media_type)] = "application/octet-stream"
    content: Annotated[str, AfterValidator(_base64)] = Field(description="Its octets in base64.")


class Letter(Body):
    """A message as people think of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "from": {"address": "orders@shop.example", "name": "The Shop"},
                    "to": [{"address": "ada@example.net"}],
                    "subject": "Your order",
                    "text": "It is on its way.",
                }
            ]
        }
    )

    from_: Party = Field(alias="from")
    to: list[Party] = Field(min_length=1, max_length=MAX_RECIPIENTS)
    cc: list[Party] = Field(default=[], max_length=MAX_RECIPIENTS)
    bcc: list[Party] = Field(default=[], max_length=MAX_RECIPIENTS, description="In the envelope only.")
    reply_to: Party | None = None
    subject: Line = ""
    text: str | None = None
    html: str | None = None
    headers: dict[Annotated[str, AfterValidator(_header)], Line] = Field(default={}, max_length=50)
    attachments: list[Attachment] = Field(default=[], max_length=50)
    stream: Marker | None = Field(None, description="Kind of mail that it is; rules and suppressions may go by it.")
    tags: list[Marker] = Field(default=[], max_length=10)

    def recipients(self) -> list[str]:
        """All who get it, each once."""
        return list(dict.fromkeys(party.address for party in (*self.to, *self.cc, *self.bcc)))


def composed(letter: Letter, message_id: UUID, at: datetime) -> bytes:
    """Write a letter as a message.

    Raises:
        ValueError: it has no body, or a header that cannot be written.
    """
    if letter.text is None and letter.html is None:
        raise ValueError("give text, html, or both")
    message = EmailMessage(policy=SMTP)
    sender = parse_mailbox(letter.from_.address)
    _put_headers(message, letter, sender)
    message["Date"] = format_datetime(at)
    message["Message-ID"] = f"<{message_id}@{sender.domain}>"
    if letter.text is not None:
        message.set_content(letter.text, cte=_encoding(letter.text))
    if letter.html is not None and letter.text is None:
        message.set_content(letter.html, subtype="html", cte=_encoding(letter.html))
    elif letter.html is not None:
        message.add_alternative(letter.html, subtype="html", cte=_encoding(letter.html))
    for each in letter.attachments:
        maintype, _, subtype = each.content_type.partition("/")
        content = base64.b64decode(each.content)
        message.add_attachment(content, maintype=maintype, subtype=subtype, filename=each.filename)
    return message.as_bytes()


def _put_headers(message: EmailMessage, letter: Letter, sender: Address) -> None:
    try:
        message["From"] = Mailbox(letter.from_.name, sender.local, sender.domain)
        for name, parties in (("To", letter.to), ("Cc", letter.cc)):
            if parties:
                message[name] = [_mailbox(party) for party in parties]
        if letter.reply_to:
            message["Reply-To"] = _mailbox(letter.reply_to)
        message["Subject"] = letter.subject
        for name, value in letter.headers.items():
            message[name] = value
        if letter.stream:
            message[STREAM_HEADER] = letter.stream
        if letter.tags:
            message[TAG_HEADER] = ", ".join(letter.tags)
    except (ValueError, HeaderParseError, IndexError) as fault:
        raise ValueError(f"a header cannot be written: {fault}") from None


def _mailbox(party: Party) -> Mailbox:
    address = parse_mailbox(party.address)
    return Mailbox(party.name, address.local, address.domain)


def _encoding(text: str) -> str:
    """Quoted-printable for what is mostly ASCII, so that no server on the way has reason to change it."""
    return "quoted-printable" if sum(not char.isascii() for char in text) * 6 < len(text) else "base64"
