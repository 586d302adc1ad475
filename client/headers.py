"""Header lines written so that nothing in a value can become another header or another recipient.

The email package of the standard library folds long headers into different ones; this does only what is safe.
"""

import base64
import re
from email.utils import getaddresses

from client.errors import UsageError

FOLD_AT = 78  # RFC 5322 section 2.1.1: a line SHOULD be no more than 78 characters,
LONGEST_LINE = 998  # and MUST be no more than 998, excluding the CRLF.
ENCODED_WORD = 75  # RFC 2047 section 2: an encoded-word may not be more than 75 characters long.
ADDRESS_HEADERS = frozenset(
    ("from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-to", "disposition-notification-to")
)
_NAME = re.compile(r"[!-9;-~]{1,126}")  # RFC 5322 section 3.6.8: printable US-ASCII except the colon
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_SPECIAL = r"\s<>()\[\]:;,\\\"@"
_ADDRESS = re.compile(rf'(?:[^{_SPECIAL}]+|"(?:[^"\\\r\n]|\\[ -~])*")@(?:[^{_SPECIAL}]+|\[[!-Z^-~]+\])')


def header(name: str, value: str) -> bytes:
    """Return one header as it goes over the wire, folded, ending in CRLF."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a header name: printable ASCII without spaces and colons")
    if _FORBIDDEN.search(value):
        raise UsageError(f"header {name}: its value holds a line break or another control character")
    text = value.strip(" \t")
    if not text.isascii():
        text = _international(name, text)
    return fold(name, text).encode()


def fold(name: str, value: str) -> str:
    """Break a value before white space only, so that unfolding gives it back unchanged (RFC 5322 section 2.2.3)."""
    lines = [f"{name}:"]
    for word in re.findall(r"[ \t]*[^ \t]+", f" {value}"):
        if len(lines[-1]) + len(word) > FOLD_AT and lines[-1] != f"{name}:":
            lines.append(word)
        else:
            lines[-1] += word
    if any(len(line.encode()) > LONGEST_LINE for line in lines):
        raise UsageError(f"header {name}: a word of more than {LONGEST_LINE} bytes cannot be sent")
    return "\r\n".join(lines) + "\r\n"


def encoded_words(text: str, *, used: int = 0) -> str:
    """Write text as encoded-words (RFC 2047), split between characters; `used` is what stands before on the line."""
    room = max(4, (min(ENCODED_WORD, FOLD_AT - used) - len("=?utf-8?b??=")) // 4 * 3)
    chunks = [b""]
    for character in text:
        encoded = character.encode("utf-8", "replace")
        if len(chunks[-1]) + len(encoded) > room:
            chunks.append(b"")
        chunks[-1] += encoded
    return " ".join(f"=?utf-8?b?{base64.b64encode(chunk).decode()}?=" for chunk in chunks)


def mailbox(name: str, address: str) -> str:
    """Write a display name and an address so that the name cannot be read as an address (RFC 5322 section 3.4)."""
    if not name:
        return address
    if not name.isascii():
        return f"{encoded_words(name)} <{address}>"
    if _PLAIN_NAME.fullmatch(name):
        return f"{name} <{address}>"
    quoted = re.sub(r'(["\\])', r"\\\1", name)
    return f'"{quoted}" <{address}>'


def address(text: str) -> str:
    """Return a bare address that may stand in MAIL FROM or RCPT TO, or say what is wrong with it."""
    if not _ADDRESS.fullmatch(text):
        raise UsageError(f"{printable(text)!r} is not an e-mail address (name@domain)")
    return text


def split_mailbox(text: str) -> tuple[str, str]:
    """Take `Name <address>` or a bare address apart; `<>` is the empty sender of bounces (RFC 5321 section 4.5.5)."""
    if text.strip() == "<>":
        return "", ""
    named = re.fullmatch(r"\s*(.*?)\s*<([^<>]*)>\s*", text)
    name, bare = (named[1], named[2]) if named else ("", text.strip())
    if name.startswith('"') and name.endswith('"') and len(name) > 1:
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    return name, address(bare)


def printable(text: str) -> str:
    """Return a text for an error message, shortened."""
    return text if len(text) <= FOLD_AT else f"{text[:FOLD_AT]}..."


def _international(name: str, text: str) -> str:
    if name.lower() not in ADDRESS_HEADERS:
        return encoded_words(text, used=len(name) + 2)
    try:
        return ", ".join(mailbox(display, address(bare)) for display, bare in getaddresses([text]))
    except UsageError as error:
        raise UsageError(f"header {name}: {error}") from error
