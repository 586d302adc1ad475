"""All commands."""

from typing import Final

from client.api.mail import MESSAGES
from client.api.oversight import AUDIT, CERTIFICATES, DEAD_LETTERS, STATISTICS, WEBHOOKS
from client.api.routes import PROVIDERS, RULES
from client.api.suppressions import SUPPRESSIONS
from client.api.tenancy import ACCOUNTS, CREDENTIALS, KEYS

NOUNS: Final = (
    ACCOUNTS,
    CREDENTIALS,
    KEYS,
    PROVIDERS,
    RULES,
    MESSAGES,
    SUPPRESSIONS,
    STATISTICS,
    WEBHOOKS,
    DEAD_LETTERS,
    CERTIFICATES,
    AUDIT,
)
