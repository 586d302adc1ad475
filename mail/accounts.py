"""Who may send: accounts, their SMTP credentials, and what an account may put in MAIL FROM."""

import hashlib
import hmac
from dataclasses import dataclass
from uuid import UUID

from mail.addresses import Address, domain_allowed
from mail.errors import Refused

MIN_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant, as the accept path knows it."""

    id: UUID
    name: str
    allowed_domains: frozenset[str]


@dataclass(frozen=True, slots=True)
class Credential:
    """One SMTP user of an account; the secret is known only by its digest."""

    id: UUID
    username: str
    digest: bytes
    account: Account

    def admits(self, key: bytes, secret: str) -> bool:
        """Whether `secret` is the one this credential was made with; takes the same time for any answer."""
        return hmac.compare_digest(self.digest, secret_digest(key, self.username, secret))


def secret_digest(key: bytes, username: str, secret: str) -> bytes:
    """Digest of a generated secret: HMAC-SHA256, since 256 random bits need no slow hash."""
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(f"the credential key has {len(key)} bytes; it needs {MIN_KEY_BYTES} or more")
    return hmac.digest(key, f"{username}\0{secret}".encode(), hashlib.sha256)


def check_sender(account: Account, sender: Address | None) -> None:
    """Refuse a MAIL FROM outside the account's domains (CORE-SMTP-002); the null sender is always allowed.

    Raises:
        Refused: 550 5.7.1, naming the domain and the allowed ones.
    """
    if sender is None or domain_allowed(sender.domain, account.allowed_domains):
        return
    allowed = ", ".join(sorted(account.allowed_domains)) or "none"
    raise Refused(550, "5.7.1", f"Account {account.name} may not send from {sender.domain}; allowed: {allowed}")
