"""Mail addresses as SMTP carries them: paths, mailboxes, domains (RFC 5321, sections 4.1.2 and 4.5.3.1)."""

import ipaddress
import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from mail.errors import Refused

# RFC 5321, 4.5.3.1.1 to 4.5.3.1.3: octets.
MAX_LOCAL_PART = 64
MAX_DOMAIN = 255
MAX_PATH = 254

# RFC 6532, 3.1, without what UTF-8 cannot write: unpaired surrogates, which a job may carry as escapes.
_BEYOND_ASCII = r"\u00a1-\ud7ff\ue000-\U0010ffff"
_ATOM = rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~\-{_BEYOND_ASCII}]+"
_DOT_STRING = re.compile(rf"{_ATOM}(?:\.{_ATOM})*")
_QUOTED = re.compile(rf'"(?:[\x20\x21\x23-\x5b\x5d-\x7e{_BEYOND_ASCII}]|\\[\x20-\x7e])*"')
_LABEL = rf"[A-Za-z0-9_{_BEYOND_ASCII}](?:[A-Za-z0-9_\-{_BEYOND_ASCII}]{{0,61}}[A-Za-z0-9_{_BEYOND_ASCII}])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
# What nearly all addresses are.
_USUAL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)")
# No name in it has a comma, so that there is only one way to read a route, and a long one takes no longer.
_AT_DOMAIN = r"@[^:,<>\s\x00-\x1f\x7f-\xa0\ud800-\udfff]+"
_SOURCE_ROUTE = re.compile(rf"{_AT_DOMAIN}(?:,{_AT_DOMAIN})*:")


class Address(NamedTuple):
    """One mailbox: the local part as written, the domain in lower case."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only an SMTPUTF8 peer can carry it (RFC 6531)."""
        return not (self.local.isascii() and self.domain.isascii())


def parse_mailbox(text: str) -> Address:
    """Read `local@domain`.

    Raises:
        Refused: 501 5.1.3 (RFC 3463: bad address syntax), naming what is wrong.
    """
    usual = _USUAL.fullmatch(text)
    if usual and text.isascii() and len(text) <= MAX_PATH and len(usual[1]) <= MAX_LOCAL_PART:
        return Address(usual[1], usual[2].lower())
    local, at, domain = text.rpartition("@")
    if not at:
        raise _bad("an address needs a local part, @ and a domain")
    if _octets(text) > MAX_PATH:
        raise _bad(f"the address is longer than {MAX_PATH} octets")
    if _octets(local) > MAX_LOCAL_PART:
        raise _bad(f"the local part is longer than {MAX_LOCAL_PART} octets")
    if not (_DOT_STRING.fullmatch(local) or _QUOTED.fullmatch(local)):
        raise _bad("the local part is malformed")
    return Address(local, parse_domain(domain))


def parse_domain(text: str) -> str:
    """Read a domain name or an address literal, in lower case.

    Raises:
        Refused: 501 5.1.3, naming what is wrong.
    """
    if text.startswith("["):
        return _address_literal(text)
    if _octets(text) > MAX_DOMAIN:
        raise _bad(f"the domain is longer than {MAX_DOMAIN} octets")
    if not _DOMAIN.fullmatch(text):
        raise _bad("the domain is malformed")
    return text.lower()


@lru_cache(maxsize=1024)
def parse_reverse_path(text: str) -> Address | None:
    """Read what follows `MAIL FROM:` between and with its angle brackets; None is the null path `<>`.

    Applications send from the same few addresses, so what was read is kept.
    """
    inner = _inside_brackets(text)
    return parse_mailbox(inner) if inner else None


def parse_forward_path(text: str) -> Address:
    """Read what follows `RCPT TO:`; a source route is ignored, `<Postmaster>` is legal (RFC 5321, 4.1.1.3, 4.5.1)."""
    inner = _inside_brackets(text)
    if not inner:
        raise _bad("a recipient cannot be empty")
    if inner.lower() == "postmaster":
        return Address(inner, "")
    return parse_mailbox(inner)


def domain_allowed(domain: str, allowed: frozenset[str]) -> bool:
    """Whether a sender domain is one of the allowed ones; `*.example.com` allows every name below example.com.

    A domain is the same whether its labels are written in their own letters or in ASCII (RFC 5890, section 2.3.2.1).
    """
    if domain in allowed:
        return True
    known = {ascii_domain(name) for name in allowed}
    labels = ascii_domain(domain).split(".")
    names = [".".join(labels), *("*." + ".".join(labels[n:]) for n in range(1, len(labels)))]
    return not known.isdisjoint(names)


def ascii_domain(domain: str) -> str:
    """Write a domain with A-labels only: `b\u00fccher.example` is `xn--bcher-kva.example`."""
    return ".".join(map(_a_label, domain.lower().split(".")))


def _a_label(label: str) -> str:
    if label.isascii():
        return label
    return "xn--" + unicodedata.normalize("NFC", label).encode("punycode").decode("ascii")


def _inside_brackets(text: str) -> str:
    if not (text.startswith("<") and text.endswith(">")):
        raise _bad("a path stands in angle brackets")
    route = _SOURCE_ROUTE.match(text, 1) if text[1:2] == "@" else None
    return text[route.end() if route else 1 : -1]


def _address_literal(text: str) -> str:
    inner = text[1:-1] if text.endswith("]") else ""
    if "%" in inner:
        # Python reads a zone; RFC 5321, 4.1.3 has none.
        raise _bad("the address literal is malformed")
    try:
        # RFC 5321, 4.1.3 knows no zone, and Python does.
        if inner[:5].lower() == "ipv6:" and "%" not in inner:
            return f"[IPv6:{ipaddress.IPv6Address(inner[5:])}]"
        return f"[{ipaddress.IPv4Address(inner)}]"
    except ValueError:
        raise _bad("the address literal is malformed") from None


def _octets(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _bad(what: str) -> Refused:
    return Refused(501, "5.1.3", f"Bad address: {what}")
