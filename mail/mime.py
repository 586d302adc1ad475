"""What MIME header fields say, and where the parts of a multipart are, as offsets into the message.

Lenient as its readers are, in linear time, and nothing is decoded.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from mail.splice import Field, fields_of

# Lines that can belong to a header; the first other line begins the body for some readers.
_HEADER: Final = re.compile(rb"(?:(?:From |[!-9;-~]*+:|[ \t])[^\n]*+(?:\n|\Z))*+")
_EMPTY_LINE: Final = re.compile(rb"\r?\n")
_PARAMETER: Final = re.compile(
    rb';[ \t\r\n]*+([^ \t\r\n;="]++)[ \t\r\n]*+=[ \t\r\n]*+(?:"((?:[^"\\]|\\.)*+)"|([^ \t\r\n;]*+))', re.DOTALL
)
_QUOTED_PAIR: Final = re.compile(rb"\\(.)", re.DOTALL)
_COMMENT: Final = re.compile(r"\([^()]*+\)")
_AFTER_BOUNDARY: Final = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z)")


class Span(NamedTuple):
    """Octets of a message, from `start` to before `end`."""

    start: int
    end: int


class Entity(NamedTuple):
    """A message or a part of one.

    Attributes:
        header: where its header fields are.
        body: where its body is; None where no empty line tells the header from it.
    """

    header: Span
    body: Span | None


def entity(message: bytes, span: Span) -> Entity:
    """Tell the header of a message or part from its body."""
    match = _HEADER.match(message, *span)
    end = match.end() if match else span.start
    if end == span.end:
        return Entity(Span(span.start, end), Span(end, end))
    empty = _EMPTY_LINE.match(message, end, span.end)
    return Entity(Span(span.start, end), Span(empty.end(), span.end) if empty else None)


def content_type(fields: Sequence[Field], default: str) -> tuple[str, bytes | None]:
    """The media type in small letters, and the boundary if there is one.

    Args:
        fields: the header; the first Content-Type counts.
        default: what a part is that does not say it.
    """
    value = first(fields, b"content-type")
    if value is None:
        return default, None
    kind = value.partition(b";")[0].strip().lower().decode("ascii", "replace")
    boundary = None
    for name, quoted, plain in _PARAMETER.findall(value):
        if name.lower() == b"boundary":
            boundary = (_QUOTED_PAIR.sub(rb"\1", quoted) or plain).rstrip()
            break
    # RFC 2045, 5.2: what cannot be read is plain text.
    return (kind if kind.count("/") == 1 else "text/plain"), boundary or None


def transfer_encoding(fields: Sequence[Field]) -> str:
    """The content transfer encoding in small letters, or an empty string."""
    value = first(fields, b"content-transfer-encoding") or b""
    return _COMMENT.sub("", value.decode("ascii", "replace")).strip().lower()


def first(fields: Sequence[Field], name: bytes) -> bytes | None:
    """What follows the colon of the first field with a name."""
    return next((field.value for field in fields if field.name == name), None)


def header_fields(message: bytes, header: Span) -> list[Field]:
    """The fields of an entity's header."""
    return list(fields_of(message[header.start : header.end]))


def parts_of(message: bytes, body: Span, boundary: bytes) -> Iterator[Span]:
    """The parts of a multipart, without the line end before the next boundary, which belongs to that (RFC 2046, 5.1.1).

    A multipart that is not closed ends with its last part.
    """
    start = None
    for line, after, closing in _boundaries(message, body, boundary):
        if start is not None:
            yield Span(start, max(start, line - (2 if message.startswith(b"\r\n", line - 2) else 1)))
        if closing:
            return
        start = after
    if start is not None:
        yield Span(start, body.end)


def _boundaries(message: bytes, body: Span, boundary: bytes) -> Iterator[tuple[int, int, bool]]:
    """Where each boundary line begins and ends, and whether it closes the multipart."""
    mark = b"\n--" + boundary
    # The octet before the body ends a line.
    at = body.start - 1
    while (at := message.find(mark, at, body.end)) >= 0:
        rest = _AFTER_BOUNDARY.match(message, at + len(mark), body.end)
        if rest:
            yield at + 1, rest.end(), rest[1] is not None
        at += 1 if rest is None else rest.end() - at - 1
