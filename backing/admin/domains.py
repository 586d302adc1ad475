"""Domains as an operator writes them."""

from collections.abc import Iterable

from backing.admin.desk import AdminError
from mail.addresses import parse_domain
from mail.errors import Refused


def sender_domains(texts: Iterable[str]) -> list[str]:
    """Check domains that may be sent from; `*.example.com` stands for every name below example.com.

    Raises:
        AdminError: naming the domain that is none.
    """
    domains: list[str] = []
    for text in texts:
        wildcard, name = ("*.", text[2:]) if text.startswith("*.") else ("", text)
        try:
            domains.append(wildcard + parse_domain(name))
        except Refused as refused:
            raise AdminError(f"{text!r} is not a domain: {refused.reply.text}") from None
    return sorted(set(domains))
