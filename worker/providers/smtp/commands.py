"""MAIL and RCPT as a peer with certain extensions may be told them."""

import re
from collections.abc import Mapping

from mail.addresses import parse_forward_path, parse_reverse_path
from mail.errors import Refused
from mail.job import Recipient
from worker.providers.base import Envelope

# RFC 5321, 4.1.2: esmtp-value.
_VALUE = re.compile(r"[\x21-\x3c\x3e-\x7e]+")


def valid_reverse_path(path: str) -> bool:
    """Whether MAIL can name it."""
    try:
        parse_reverse_path(f"<{path}>")
    except Refused:
        return False
    return True


def valid_forward_path(path: str) -> bool:
    """Whether RCPT can name it."""
    try:
        parse_forward_path(f"<{path}>")
    except Refused:
        return False
    return True


def mail(envelope: Envelope, extensions: Mapping[str, str], size: int, *, eight_bit: bool, utf8: bool) -> bytes:
    """Write MAIL for a message of `size` octets; only what the peer offers is asked for, beside what must be."""
    words = [f"MAIL FROM:<{envelope.mail_from}>"]
    if "size" in extensions:
        words.append(f"SIZE={size}")
    if eight_bit and "8bitmime" in extensions:
        words.append("BODY=8BITMIME")
    if utf8:
        words.append("SMTPUTF8")
    if envelope.require_tls:
        words.append("REQUIRETLS")
    if "dsn" in extensions:
        words += _parameters(RET=envelope.ret, ENVID=envelope.envid)
    return " ".join(words).encode()


def rcpt(recipient: Recipient, extensions: Mapping[str, str]) -> bytes:
    """Write RCPT; delivery status wishes go to a peer that knows them (RFC 3461)."""
    words = [f"RCPT TO:<{recipient.address}>"]
    if "dsn" in extensions:
        words += _parameters(NOTIFY=recipient.notify, ORCPT=recipient.orcpt)
    return " ".join(words).encode()


def _parameters(**values: str | None) -> list[str]:
    return [f"{name}={value}" for name, value in values.items() if value and _VALUE.fullmatch(value)]
