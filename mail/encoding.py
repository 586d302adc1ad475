"""Messages for peers that take neither 8BITMIME nor long lines: parts encoded anew, and nothing else touched.

Only bodies are. An octet above 127 in a header, the message's or a part's, needs SMTPUTF8 and stays as it is.
"""

from typing import Final, NamedTuple

from mail.headers import field_values
from mail.mime import Span, content_type, entity, first, header_fields, parts_of, transfer_encoding
from mail.splice import Field, body_start, header_end
from mail.transfer import again_base64, again_quoted_printable, base64_lines, quoted_printable

# RFC 5322, 2.1.1; without the line end.
MAX_LINE: Final = 998
MAX_DEPTH: Final = 20
MAX_PARTS: Final = 500
# RFC 2045, 6.4: these may only be sent as they are, or part by part.
_MESSAGES: Final = frozenset({"message/rfc822", "message/news"})
# RFC 6532, 3.7 and RFC 6533, 6: these may be encoded like any other content.
_GLOBAL: Final = "message/global"
_GLOBAL_TEXTS: Final = frozenset({"message/global-delivery-status", "message/global-headers"})
_WIDE: Final = frozenset({"8bit", "binary"})
_PLAIN: Final = _WIDE | {"", "7bit"}
# Readers do not agree about which one counts where there are several.
_SINGLE: Final = (b"content-type", b"content-transfer-encoding")
_LABEL: Final = b"Content-Transfer-Encoding: %s\r\n"
_MIME_VERSION: Final = b"MIME-Version: 1.0\r\n"


class _Unfit(Exception):  # noqa: N818 - a fact about a message
    """It cannot be encoded for such a peer."""


def needs_seven_bit(message: bytes) -> bool:
    """Whether the body has octets above 127, which only a peer with 8BITMIME takes (RFC 6152)."""
    return not message.isascii() and not message[body_start(message, header_end(message)) :].isascii()


def long_lines(message: bytes) -> bool:
    """Whether the body has lines of more than `MAX_LINE` octets, which peers refuse or break (RFC 5321, 4.5.3.1.6)."""
    return _has_long_line(message, Span(body_start(message, header_end(message)), len(message)))


def seven_bit(message: bytes) -> bytes | None:
    """Encode what has octets above 127 or lines too long: text as quoted-printable, all else as base64.

    Returns:
        The message itself where no part needs it. None where it cannot be done: what is signed would change (a
        multipart/signed, or anything under a DKIM-Signature), a header or boundary cannot be read for certain, or
        the message is deeper than `MAX_DEPTH` or has more than `MAX_PARTS` parts.
    """
    if not needs_seven_bit(message) and not long_lines(message):
        return message
    rewriting = _Rewriting(message)
    try:
        rewriting.message(Span(0, len(message)), depth=0)
    except _Unfit:
        return None
    if not rewriting.edits:
        return message
    if field_values(message[: header_end(message)], "DKIM-Signature"):
        return None
    return _edited(message, rewriting.edits)


class _Part(NamedTuple):
    """A message or part of one in which something needs to be encoded; `whole` says it is a message."""

    header: Span
    body: Span
    fields: list[Field]
    kind: str
    boundary: bytes | None
    encoding: str
    whole: bool


class _Rewriting:
    """Walks through a message and notes what is to be put in the place of what."""

    def __init__(self, message: bytes) -> None:
        self._message = message
        self._parts = 0
        self.edits: list[tuple[Span, bytes]] = []

    def message(self, span: Span, depth: int) -> bool:
        """Note the edits of a whole message; whether there are any."""
        return self._entity(span, depth, "text/plain", whole=True)

    def _entity(self, span: Span, depth: int, default: str, *, whole: bool = False) -> bool:
        self._parts += 1
        if depth > MAX_DEPTH or self._parts > MAX_PARTS:
            raise _Unfit
        part = self._read(span, default, whole=whole)
        if part is None:
            return False
        if part.kind not in _MESSAGES and not part.kind.startswith("multipart/"):
            self._leaf(part)
            return True
        if part.encoding not in _PLAIN:
            raise _Unfit
        changed = self.message(part.body, depth + 1) if part.kind in _MESSAGES else self._multipart(part, depth)
        if changed and part.encoding in _WIDE:
            self._relabel(part, b"7bit")
        return changed

    def _read(self, span: Span, default: str, *, whole: bool) -> _Part | None:
        """The message or part, if anything in its body needs to be encoded."""
        header, body = entity(self._message, span)
        if not self._needs_it(body or Span(header.end, span.end)):
            return None
        if body is None:
            raise _Unfit
        fields = header_fields(self._message, header)
        names = [field.name for field in fields]
        if any(names.count(name) > 1 for name in _SINGLE):
            raise _Unfit
        kind, boundary = content_type(fields, default)
        return _Part(header, body, fields, kind, boundary, transfer_encoding(fields), whole)

    def _multipart(self, whole: _Part, depth: int) -> bool:
        if whole.boundary is None or whole.kind == "multipart/signed":
            raise _Unfit
        default = "message/rfc822" if whole.kind == "multipart/digest" else "text/plain"
        before, changed = whole.body.start, False
        for span in parts_of(self._message, whole.body, whole.boundary):
            # What is between the parts belongs to none, and cannot be encoded.
            self._check(Span(before, span.start))
            changed |= self._entity(span, depth + 1, default)
            before = span.end
        self._check(Span(before, whole.body.end))
        return changed

    def _leaf(self, part: _Part) -> None:
        if not _encodable(part.kind, part.encoding):
            raise _Unfit
        content = self._message[part.body.start : part.body.end]
        if part.encoding == "quoted-printable":
            text = again_quoted_printable(content)
        elif part.encoding == "base64":
            text = again_base64(content) + self._line_end(part.body)
        else:
            readable = b"\0" not in content and (part.kind.startswith("text/") or part.kind in _GLOBAL_TEXTS)
            text = quoted_printable(content) if readable else base64_lines(content) + self._line_end(part.body)
            more = _needed(part.fields, content) if part.whole else b""
            self._relabel(part, b"quoted-printable" if readable else b"base64", more)
        self.edits.append((part.body, text))

    def _relabel(self, part: _Part, encoding: bytes, more: bytes = b"") -> None:
        """Name the encoding where it was named, or else at the header's end, with more fields."""
        text, at = _LABEL % encoding, part.header.start
        for field in part.fields:
            after = at + len(field.raw)
            if field.name == b"content-transfer-encoding":
                self.edits.append((Span(at, after), text))
                text = b""
            at = after
        self.edits.append((Span(part.header.end, part.header.end), more + text))

    def _line_end(self, body: Span) -> bytes:
        """The line end of base64's last line, where what follows brings none."""
        return b"" if self._message.startswith((b"\r\n", b"\n"), body.end) else b"\r\n"

    def _check(self, span: Span) -> None:
        if self._needs_it(span):
            raise _Unfit

    def _needs_it(self, span: Span) -> bool:
        return not self._message[span.start : span.end].isascii() or _has_long_line(self._message, span)


def _encodable(kind: str, encoding: str) -> bool:
    """Whether another encoding hides it from none of its readers: they may know one that we do not."""
    known = not encoding.startswith("x-") and "uu" not in encoding
    return known and (kind.startswith(_GLOBAL) or not kind.startswith("message/"))


def _needed(fields: list[Field], content: bytes) -> bytes:
    """What a message must say for its encoding to be heeded (RFC 2045, 4), and about what has no known charset."""
    more = b"" if first(fields, b"mime-version") is not None else _MIME_VERSION
    if first(fields, b"content-type") is None:
        more += b"Content-Type: text/plain; charset=%s\r\n" % _charset(content)
    return more


def _charset(content: bytes) -> bytes:
    """RFC 1428, 3: `unknown-8bit` for octets of a charset that nobody named."""
    try:
        content.decode()
    except UnicodeDecodeError:
        return b"unknown-8bit"
    return b"us-ascii" if content.isascii() else b"utf-8"


def _has_long_line(message: bytes, span: Span) -> bool:
    """Looks at one line end in a thousand octets: lines that end within so many are short enough, all of them."""
    at, end = span
    while end - at > MAX_LINE:
        last = message.rfind(b"\n", at, min(at + MAX_LINE + 1, end))
        if last >= 0:
            at = last + 1
        elif message.startswith(b"\r\n", at + MAX_LINE, end):
            at += MAX_LINE + 2
        else:
            return True
    return False


def _edited(message: bytes, edits: list[tuple[Span, bytes]]) -> bytes:
    pieces, at = [], 0
    for span, text in sorted(edits):
        pieces += [message[at : span.start], text]
        at = span.end
    return b"".join([*pieces, message[at:]])
