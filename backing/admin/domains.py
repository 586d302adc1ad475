"""Domains as an operator writes them."""

from collections.abc import Iterable
from typing import Final

from backing.admin.desk import AdminError
from mail.addresses import parse_domain
from mail.errors import Refused

MAX_DOMAINS: Final = 1000


def sender_domains(texts: Iterable[str]) -> list[str]:
    """Check domains that may be sent from; `*.example.com` stands for every name below example.com.

    Raises:
        AdminError: naming the domain that is none, or they are too many.
    """
    texts, domains = list(texts), list[str]()
    if len(texts) > MAX_DOMAINS:
        raise AdminError(f"there are {len(texts)} domains; {MAX_DOMAINS} at most")
    for text in texts:
        wildcard, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
        try:
            domains.append(wildcard + parse_domain(name))
        except Refused as refused:
            raise AdminError(f"{text!r} is not a domain: {refused.reply.text}") from None
    return sorted(set(domains))
