"""What the operator's commands work with: opened for one change, and afterwards whoever keeps a copy is told."""

import argparse
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import Field

from backing.admin.desk import Desk
from backing.admin.office import Office, Tools
from backing.aws import Aws
from backing.cache import Cache
from backing.ids import new_id
from backing.notices import Notice, publish
from backing.postgres.audit import Deed
from backing.postgres.pool import Database
from backing.secrets import Vault, credential_key
from backing.settings import CacheSettings, CredentialKeySettings, Networks, ProviderKeySettings
from mail.errors import Unavailable

ACTOR = "operator command"
# What a change is about, by the arguments that may name it; of several addresses, how many they are.
_SUBJECTS = ("id", "prefix", "name", "username", "url", "address")
_RELAYS = (
    "relays could not be told ({why}); each will know within RELAY_CREDENTIAL_CACHE_SECONDS, one minute by default"
)
_WORKERS = "workers could not be told ({why}); each will know within WORKER_ROUTING_SECONDS, five seconds by default"


class AdminSettings(CredentialKeySettings, ProviderKeySettings, CacheSettings):
    """What the operator's command reads from its environment."""

    provider_allowed_networks: Networks = Field(
        default=(), description="As the worker's: networks that providers may be in beside the public internet."
    )
    webhook_allowed_networks: Networks = Field(
        default=(), description="As the worker's: networks that webhooks may be posted to beside the public internet."
    )
    issued_secret_prefix: str = Field(
        default="",
        description="What names of secrets that `--to-secret` writes begin with, as in smtp-proxy/prod/issued/.",
    )
    issued_secret_key: str = Field(
        default="", description="KMS key that they are made with. Empty: the account's own key for Secrets Manager."
    )


def deed_of(asked: argparse.Namespace) -> Deed:
    """Say what the audit log is told of a change: no more of the command line than what it is about."""
    given = next((value for name in _SUBJECTS if (value := getattr(asked, name, None))), "")
    if isinstance(given, list):
        given = given[0] if len(given) == 1 else f"{len(given)} addresses"
    account = getattr(asked, "name" if asked.noun == "account" else "account", None)
    return Deed(
        account=account,
        actor=ACTOR,
        action=f"{asked.noun}.{asked.verb}",
        subject=str(given),
        request=str(new_id()),
        peer=socket.gethostname(),
    )


@asynccontextmanager
async def opened(settings: AdminSettings, deed: Deed) -> AsyncIterator[Office]:
    """Open what a change needs, which is noted as a deed; afterwards relays and workers are told of it."""
    aws = Aws(settings.aws_region)
    async with aws.secrets() as secrets, aws.kms() as kms, Database(settings, aws).opened() as database:
        desk, vault = Desk(database, deed), Vault(kms, settings.provider_key)
        key = await credential_key(secrets, settings.credential_key_secret)
        networks = settings.webhook_allowed_networks, settings.provider_allowed_networks
        yield Office.at(desk, Tools(vault, key, *networks))
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
            kinds = {notice.kind for notice in notices} - {"inquiry"}  # which workers look for themselves
            listeners = dict.fromkeys(_WORKERS if kind == "routing" else _RELAYS for kind in sorted(kinds))
            sys.stderr.writelines(f"note: {text.format(why=why)}\n" for text in listeners)
