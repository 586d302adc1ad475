"""What the operator's commands work with: opened for one change, and afterwards whoever keeps a copy is told."""

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from pydantic import Field

from backing.admin.accounts import Accounts
from backing.admin.credentials import Credentials
from backing.admin.desk import Desk
from backing.admin.messages import Messages
from backing.admin.providers import Providers
from backing.admin.rules import Rules
from backing.admin.suppressions import SuppressionLists
from backing.admin.webhooks import Webhooks
from backing.aws import Aws
from backing.cache import Cache
from backing.notices import Notice, publish
from backing.postgres.pool import Database
from backing.secrets import Vault, credential_key
from backing.settings import CacheSettings, CredentialKeySettings, Networks, ProviderKeySettings
from mail.errors import Unavailable

_RELAYS = (
    "relays could not be told ({why}); each will know within RELAY_CREDENTIAL_CACHE_SECONDS, one minute by default"
)
_WORKERS = "workers could not be told ({why}); each will know within WORKER_ROUTING_SECONDS, five seconds by default"


class AdminSettings(CredentialKeySettings, ProviderKeySettings, CacheSettings):
    """What the operator's command reads from its environment."""

    webhook_allowed_networks: Networks = Field(
        default=(), description="As the worker's: networks that webhooks may be posted to beside the public internet."
    )


@dataclass(frozen=True, slots=True)
class Office:
    """All that an operator can change."""

    accounts: Accounts
    credentials: Credentials
    providers: Providers
    rules: Rules
    suppressions: SuppressionLists
    messages: Messages
    webhooks: Webhooks


@asynccontextmanager
async def opened(settings: AdminSettings) -> AsyncIterator[Office]:
    """Open what changes need; afterwards relays and workers are told of those that were made."""
    aws = Aws(settings.aws_region)
    async with aws.secrets() as secrets, aws.kms() as kms, Database(settings, aws).opened() as database:
        desk, vault = Desk(database), Vault(kms, settings.provider_key)
        credentials = Credentials(desk, await credential_key(secrets, settings.credential_key_secret))
        yield Office(
            accounts=Accounts(desk, vault, credentials),
            credentials=credentials,
            providers=Providers(desk, vault),
            rules=Rules(desk),
            suppressions=SuppressionLists(desk),
            messages=Messages(desk),
            webhooks=Webhooks(desk, vault, settings.webhook_allowed_networks),
        )
        await _tell(settings, aws, desk.notices)


async def _tell(settings: AdminSettings, aws: Aws, notices: Sequence[Notice]) -> None:
    if not notices:
        return
    async with Cache(settings, aws).opened() as cache:
        try:
            for notice in notices:
                await publish(cache, notice)
        except Unavailable as fault:
            why = str(fault) if cache.configured else "CACHE_URL names no cache"
            listeners = dict.fromkeys(_WORKERS if notice.kind == "routing" else _RELAYS for notice in notices)
            sys.stderr.writelines(f"note: {text.format(why=why)}\n" for text in listeners)
