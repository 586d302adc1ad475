"""Keys of the HTTP API: what they look like, what they may do."""

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

# Looked for by secret scanners, and by eyes.
MARK: Final = "sp"
PREFIX_LETTERS: Final = 12
_TOKEN: Final = re.compile(rf"{MARK}_([a-z2-7]{{{PREFIX_LETTERS}}})_([A-Za-z0-9_-]{{43}})")


class Scope(StrEnum):
    """What a key may do."""

    MESSAGES_READ = "messages:read"
    MESSAGES_SEND = "messages:send"
    MESSAGES_RAW = "messages:raw"
    MESSAGES_MANAGE = "messages:manage"
    ACCOUNTS_READ = "accounts:read"
    ACCOUNTS_WRITE = "accounts:write"
    CREDENTIALS_READ = "credentials:read"
    CREDENTIALS_WRITE = "credentials:write"
    KEYS_READ = "keys:read"
    KEYS_WRITE = "keys:write"
    PROVIDERS_READ = "providers:read"
    PROVIDERS_WRITE = "providers:write"
    RULES_READ = "rules:read"
    RULES_WRITE = "rules:write"
    SUPPRESSIONS_READ = "suppressions:read"
    SUPPRESSIONS_WRITE = "suppressions:write"
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"
    AUDIT_READ = "audit:read"
    DEADLETTERS_READ = "deadletters:read"
    DEADLETTERS_WRITE = "deadletters:write"
    CERTIFICATES_READ = "certificates:read"


# What concerns all accounts together, or where our own network is reached from, which no tenant's key can have.
OPERATORS_ONLY: Final = frozenset(
    {
        Scope.ACCOUNTS_WRITE,
        Scope.PROVIDERS_WRITE,
        Scope.DEADLETTERS_READ,
        Scope.DEADLETTERS_WRITE,
        Scope.CERTIFICATES_READ,
    }
)
OF_TENANTS: Final = frozenset(Scope) - OPERATORS_ONLY


class Token(NamedTuple):
    """A key as its holder shows it."""

    prefix: str
    secret: str

    def __repr__(self) -> str:
        """Without the secret."""
        return f"Token({self.prefix!r})"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key, known only by the digest of its secret.

    Attributes:
        prefix: by which it is found, and named to people.
        account_id, account: whose it is; None for an operator's, which acts for all accounts.
        per_minute: requests a minute; None is the API's own limit.
    """

    id: UUID
    prefix: str
    name: str
    digest: bytes = field(repr=False)
    account_id: UUID | None
    account: str | None
    scopes: frozenset[str]
    per_minute: int | None = None
    expires_at: datetime | None = None

    @property
    def actor(self) -> str:
        """How it is named where its deeds are told."""
        return f"{self.prefix} {self.name}"

    def matches(self, secret: str) -> bool:
        """Whether a secret is its own; takes the same time for any answer."""
        return hmac.compare_digest(self.digest, key_digest(secret))

    def admits(self, secret: str, now: datetime) -> bool:
        """Whether a secret is its own, and its time is not over."""
        return self.matches(secret) and (self.expires_at is None or now < self.expires_at)


def parse_token(text: str) -> Token | None:
    """Read a key as its holder shows it, or None."""
    match = _TOKEN.fullmatch(text)
    return Token(match[1], match[2]) if match else None


def token_text(prefix: str, secret: str) -> str:
    """Write a key as its holder shows it."""
    return f"{MARK}_{prefix}_{secret}"


def key_digest(secret: str) -> bytes:
    """Digest that is kept of a secret: 256 random bits need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


def scopes_of(words: list[str] | tuple[str, ...], *, of_operator: bool) -> list[str]:
    """Check the scopes that a key is to have; none named is all that it may have.

    Raises:
        ValueError: naming the one that is none, or that no tenant can have.
    """
    possible = frozenset(Scope) if of_operator else OF_TENANTS
    for word in words:
        if word not in possible:
            what = "is for operators only" if word in OPERATORS_ONLY else "is no scope"
            raise ValueError(f"{str(word)!r} {what}; there are {', '.join(sorted(possible))}")
    return sorted(set(words) or possible)
