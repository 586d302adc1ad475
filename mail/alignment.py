"""Whose a message is by its From, and whether its domain has signed it already."""

import re
from typing import Final

from mail.addresses import ascii_domain
from mail.senders import addresses_of
from mail.splice import fields_of, header_end

# A From that is longer is not worth the time to read it.
_MAX_FROM: Final = 8_192
# RFC 6376, 3.2: tags stand between semicolons, with white space around what they are made of.
_SIGNING_DOMAIN: Final = re.compile(r"(?:^|;)\s*d\s*=\s*([^\s;]{1,255})\s*(?:;|$)")


def wants_signature(message: bytes, domain: str) -> bool:
    """Whether a signature by a domain belongs before a message.

    It does if every address in its one From is of the domain or of one below it, as DMARC aligns them (RFC 7489,
    3.1.1), and no DKIM-Signature names the domain yet.

    Args:
        message: the message.
        domain: the signing domain in small letters of ASCII.
    """
    fields = list(fields_of(message[: header_end(message)]))
    senders = [field.value for field in fields if field.name == b"from"]
    signatures = [field.value for field in fields if field.name == b"dkim-signature"]
    return (
        len(senders) == 1
        and _all_of(senders[0], domain)
        and not any(_signing_domain(value) == domain for value in signatures)
    )


def _all_of(value: bytes, domain: str) -> bool:
    if len(value) > _MAX_FROM:
        return False
    try:
        addresses = addresses_of(value.replace(b"\r\n", b"").decode())
    except ValueError:
        return False
    domains = [ascii_domain(address.domain) for address in addresses]
    return bool(domains) and all(each == domain or each.endswith(f".{domain}") for each in domains)


def _signing_domain(value: bytes) -> str | None:
    named = _SIGNING_DOMAIN.search(value.decode("utf-8", "replace"))
    return ascii_domain(named[1]) if named else None
