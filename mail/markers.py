"""What a client tells us about a message in its header: the stream it belongs to, and its tags."""

import re
from typing import Final, NamedTuple

from mail.headers import field_values, find_headers, header_block

STREAM_HEADER: Final = "X-Stream"
TAG_HEADER: Final = "X-Tag"
MAX_TAGS: Final = 10
MARKER: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


class Markers(NamedTuple):
    """The stream of a message, and its tags in the order in which they were given, each once."""

    stream: str | None = None
    tags: tuple[str, ...] = ()


_NONE: Final = Markers()


def markers(message: bytes) -> Markers:
    """Read X-Stream (the first one counts) and X-Tag (repeated, or with commas); what is malformed is ignored."""
    block = header_block(message)
    stream, tag = find_headers(block, STREAM_HEADER, TAG_HEADER)
    if stream is tag is None:
        return _NONE
    words = (word.strip() for value in field_values(block, TAG_HEADER) for word in value.split(","))
    tags = tuple(dict.fromkeys(word for word in words if MARKER.fullmatch(word)))[:MAX_TAGS]
    return Markers(stream if stream and MARKER.fullmatch(stream) else None, tags)
