"""What to write: the options and files of the command line, turned into one message after another."""

import secrets
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime

from client.compose import Message, Part, message_id_of, multipart, text_part, with_crlf
from client.errors import UsageError
from client.headers import header, mailbox, split_mailbox
from client.template import Template

_STRUCTURE = ("content-type", "content-transfer-encoding")


@dataclass(frozen=True, slots=True)
class Body:
    """What stands below the headers; `size` pads the text."""

    text: Template | None = None
    html: Template | None = None
    attachments: tuple[Part, ...] = ()
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Letters:
    """The messages of one run; message n takes row n of the variables, and begins again after the last."""

    sender: Template
    recipients: tuple[Template, ...]
    headers: tuple[tuple[str, Template], ...]
    body: Body
    raw: bytes | None = None
    variables: Mapping[str, str] | None = None
    rows: tuple[Mapping[str, str], ...] = ()
    smtputf8: bool = False

    def write(self, index: int, *, eight_bit: bool) -> Message:
        """Return message `index` (the first is 1); `eight_bit` says whether the server takes 8-bit text."""
        date = format_datetime(datetime.now(UTC))
        values = {"index": str(index), "uuid": _uuid(), "date": date, **(self.variables or {})}
        values |= self.rows[(index - 1) % len(self.rows)] if self.rows else {}
        sender = split_mailbox(self.sender.render(values))
        recipients = [split_mailbox(recipient.render(values)) for recipient in self.recipients]
        if any(not bare for _, bare in recipients):
            raise UsageError("--to: '<>' cannot receive mail")
        envelope = Envelope(sender[1], tuple(bare for _, bare in recipients), self.smtputf8)
        if self.raw is not None:
            raw = with_crlf(self.raw)
            return envelope.around(raw, message_id_of(raw))
        defaults = {
            "From": mailbox(sender[0], sender[1] or "MAILER-DAEMON@smtp-client.invalid"),
            "To": ", ".join(mailbox(*recipient) for recipient in recipients),
            "Date": date,
            "Message-ID": f"<{_uuid()}@{_domain(sender[1])}>",
            "MIME-Version": "1.0",
        }
        return self._composed(envelope, defaults, values, eight_bit=eight_bit)

    def check(self, count: int) -> None:
        """Write every different message once, so that a mistake is told before anything is sent."""
        for index in range(1, min(count, max(1, len(self.rows))) + 1):
            self.write(index, eight_bit=True)

    def _composed(
        self, envelope: "Envelope", defaults: Mapping[str, str], values: dict[str, str], *, eight_bit: bool
    ) -> Message:
        values |= {"from": envelope.sender, "to": ", ".join(envelope.recipients)}
        written = [(name, template.render(values)) for name, template in self.headers]
        given = {name.lower(): value for name, value in written}
        fields = [(name, value) for name, value in defaults.items() if name.lower() not in given]
        fields += [(name, value) for name, value in written if name.lower() not in _STRUCTURE]
        parts = list(self._texts(given, values, eight_bit=eight_bit))
        part = parts[0] if len(parts) == 1 else multipart("alternative", parts, _boundary())
        if self.body.attachments:
            part = multipart("mixed", [part, *self.body.attachments], _boundary())
        head = b"".join(header(name, value) for name, value in fields)
        return envelope.around(head + bytes(part), given.get("message-id", defaults["Message-ID"]), head)

    def _texts(self, given: Mapping[str, str], values: Mapping[str, str], *, eight_bit: bool) -> Iterator[Part]:
        text, html, size = self.body.text, self.body.html, self.body.size
        rendered = text.render(values) if text else ""
        content_type = given.get("content-type", "text/plain; charset=utf-8")
        if "content-transfer-encoding" in given:  # the template's body is encoded already
            encoding = ("Content-Transfer-Encoding", given["content-transfer-encoding"])
            yield Part((("Content-Type", content_type), encoding), with_crlf(rendered.encode()))
        elif text or not html:
            yield text_part(rendered, content_type, eight_bit=eight_bit, size=size)
        if html:
            size = None if text else size
            yield text_part(html.render(values), "text/html; charset=utf-8", eight_bit=eight_bit, size=size)


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends to whom (RFC 5321 section 2.3.1)."""

    sender: str
    recipients: tuple[str, ...]
    smtputf8: bool

    def around(self, raw: bytes, message_id: str | None, head: bytes = b"") -> Message:
        """Return the message in this envelope, with SMTPUTF8 when an address needs it (RFC 6531 section 3.4)."""
        plain = head.isascii() and "".join((self.sender, *self.recipients)).isascii()
        return Message(self.sender, self.recipients, raw, message_id, self.smtputf8 or not plain)


def refuse_structure(name: str) -> None:
    """Keep --header away from what the parts decide."""
    if name.lower() in _STRUCTURE:
        raise UsageError(f"--header {name}: smtp-client writes it; use --template or --eml for a structure of your own")


def _domain(sender: str) -> str:
    domain = sender.rpartition("@")[2]
    return domain if domain.isascii() and domain[:1].isalnum() else "smtp-client.invalid"


def _uuid() -> str:
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


def _boundary() -> str:
    return f"=_{secrets.token_hex(16)}"
