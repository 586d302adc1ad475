"""A message made of its parts, as the bytes that go over the wire."""

import base64
import binascii
import hashlib
import mimetypes
import re
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import BytesHeaderParser
from pathlib import Path
from urllib.parse import quote

from client.errors import UsageError
from client.headers import LONGEST_LINE, header

FILLER_LINE = 76


@dataclass(frozen=True, slots=True)
class Message:
    """An envelope and the exact bytes behind DATA, before dot-stuffing (RFC 5321 section 4.5.2)."""

    sender: str
    recipients: tuple[str, ...]
    raw: bytes
    message_id: str | None
    smtputf8: bool

    @property
    def eight_bit(self) -> bool:
        """Whether the bytes need BODY=8BITMIME (RFC 6152)."""
        return not self.raw.isascii()

    @property
    def sha256(self) -> str:
        """The fingerprint a receiver can compare with what arrived."""
        return hashlib.sha256(self.raw).hexdigest()


@dataclass(frozen=True, slots=True)
class Part:
    """A MIME part: its own headers and its encoded body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def __bytes__(self) -> bytes:
        return b"".join(header(name, value) for name, value in self.headers) + b"\r\n" + self.body


def text_part(text: str, content_type: str, *, eight_bit: bool, size: int | None = None) -> Part:
    """Return a text as a part, padded to `size` bytes, in the plainest encoding that carries it."""
    body = with_crlf(text.encode("utf-8", "surrogateescape"))
    return encoded_part(body if size is None else padded(body, size), content_type, eight_bit=eight_bit)


def encoded_part(body: bytes, content_type: str, *, eight_bit: bool) -> Part:
    """Choose 7bit, 8bit or quoted-printable (RFC 2045 section 6); what holds parts itself is never encoded."""
    composite = content_type.lower().startswith(("multipart/", "message/"))  # RFC 2045 section 6.4
    fits = max(map(len, body.split(b"\r\n"))) <= LONGEST_LINE
    if composite or (fits and (eight_bit or body.isascii())):
        encoding = "7bit" if body.isascii() else "8bit"
    else:
        encoding = "quoted-printable"
        body = with_crlf(binascii.b2a_qp(body.replace(b"\r\n", b"\n")))
    return Part((("Content-Type", content_type), ("Content-Transfer-Encoding", encoding)), body)


def attachment(file: Path) -> Part:
    """Return a file as an attachment, always base64 (RFC 2045 section 6.8)."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"--attach {file}: cannot be read: {error}") from error
    guess, compressed = mimetypes.guess_type(file.name)
    # A base64 message/* or multipart/* is forbidden (RFC 2045 section 6.4), and a .gz is not what is inside it.
    plain = guess is None or compressed or guess.startswith(("message/", "multipart/"))
    return Part(
        (
            ("Content-Type", "application/octet-stream" if plain or guess is None else guess),
            ("Content-Transfer-Encoding", "base64"),
            ("Content-Disposition", f"attachment; {_file_name(file.name)}"),
        ),
        with_crlf(base64.encodebytes(content)),
    )


def multipart(kind: str, parts: Iterable[Part], boundary: str) -> Part:
    """Return parts as one multipart (RFC 2046 section 5.1)."""
    opened = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), bytes(part)) for part in parts)
    body = opened + b"--%b--\r\n" % boundary.encode()
    eight_bit = "7bit" if body.isascii() else "8bit"
    headers = (
        ("Content-Type", f'multipart/{kind}; boundary="{boundary}"'),
        ("Content-Transfer-Encoding", eight_bit),
    )
    return Part(headers, body)


def with_crlf(data: bytes) -> bytes:
    """End every line in CRLF, the last one too: DATA can carry nothing else (RFC 5321 section 2.3.8)."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    return lines if lines.endswith(b"\r\n") else lines + b"\r\n"


def padded(body: bytes, size: int) -> bytes:
    """Lengthen a body with lines of filler to `size` bytes; a longer one stays as it is."""
    missing = size - len(body)
    if missing <= 0:
        return body
    line = b"\r\n" + b"x" * FILLER_LINE
    filler = (line * (missing // len(line) + 1))[:missing]
    if filler.endswith(b"\r"):
        filler = filler[:-1] + b"x"
    return body[:-2] + filler + b"\r\n"


def message_id_of(raw: bytes) -> str | None:
    """Return the Message-ID of a message that somebody else wrote."""
    found = BytesHeaderParser().parsebytes(raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").get("Message-ID")
    return str(found).strip() if found else None


def _file_name(name: str) -> str:
    """Write a file name as a parameter: quoted, or percent-encoded when it is not ASCII (RFC 2231 section 4)."""
    if not name.isascii() or not name.isprintable():
        return f"filename*=utf-8''{quote(name.encode('utf-8', 'replace'), safe='')}"
    escaped = re.sub(r'(["\\])', r"\\\1", name)
    return f'filename="{escaped}"'
