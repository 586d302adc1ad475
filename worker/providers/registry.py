"""The providers this worker has built from their rows, rebuilt when a row changes."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Self

from backing.postgres.routing import ProviderRow
from backing.provider_configs import BadConfig
from backing.secrets import BadSecret, Vault
from mail.encoding import seven_bit
from worker.providers import postmark, sendgrid
from worker.providers.base import Provider, Setup
from worker.providers.mailgun import MailgunApi
from worker.providers.means import Means
from worker.providers.sandbox import SandboxProvider
from worker.providers.ses import SesApi
from worker.providers.smtp import SmtpProvider

if TYPE_CHECKING:
    from uuid import UUID

Create = Callable[[Setup], Awaitable[Provider]]

# What the kinds of providers are built by that need nothing but their row.
KINDS: Mapping[str, Create] = {"sandbox": SandboxProvider.create}


def kinds(means: Means) -> Mapping[str, Create]:
    """Say what each kind of provider is built by.

    Args:
        means: what the providers share.
    """
    smtp = partial(SmtpProvider.create, recode=seven_bit, allowed=means.allowed)
    sharing: Mapping[str, Callable[[Setup, Means], Awaitable[Provider]]] = {
        "ses": SesApi.create,
        "mailgun": MailgunApi.create,
        "sendgrid": sendgrid.create,
        "postmark": postmark.create,
    }

    def with_means(create: Callable[[Setup, Means], Awaitable[Provider]]) -> Create:
        return lambda setup: create(setup, means)

    return {**KINDS, "smtp": smtp, **{kind: with_means(create) for kind, create in sharing.items()}}


class Providers:
    """Gives the provider of a row; each version of a row is built, and its secret opened, once.

    Args:
        vault: opens the secrets.
        kinds: how each kind is built.
    """

    def __init__(self, vault: Vault, kinds: Mapping[str, Create] = KINDS) -> None:
        self._vault = vault
        self._kinds = kinds
        self._built: dict[UUID, tuple[int, Provider | BadConfig]] = {}
        self._building = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        async with AsyncExitStack() as stack:
            for _version, provider in self._built.values():
                if not isinstance(provider, BadConfig):
                    stack.push_async_callback(provider.close)

    async def get(self, row: ProviderRow) -> Provider:
        """Give the provider of a row.

        Raises:
            BadConfig: it cannot be built from this version of the row.
            Unavailable: its secret cannot be opened now.
        """
        version, provider = self._built.get(row.id, (None, None))
        if version != row.version:
            async with self._building:
                provider = await self._renewed(row)
        if provider is None or isinstance(provider, BadConfig):
            raise BadConfig(str(provider))
        return provider

    async def _renewed(self, row: ProviderRow) -> Provider | BadConfig:
        version, old = self._built.get(row.id, (-1, None))
        if old is not None and version >= row.version:
            return old  # another delivery was quicker, or this one was claimed before the change
        new = await self._build(row)
        self._built[row.id] = (row.version, new)
        if old is not None and not isinstance(old, BadConfig):
            await old.close()
        return new

    async def _build(self, row: ProviderRow) -> Provider | BadConfig:
        try:
            secret = await self._vault.open(row.id, row.secret) if row.secret else None
            return await build(self._kinds, row, secret)
        except (BadConfig, BadSecret) as error:
            return BadConfig(str(error))


async def build(kinds: Mapping[str, Create], row: ProviderRow, secret: str | None) -> Provider:
    """Build the provider of a row.

    Raises:
        BadConfig: it cannot be built.
    """
    create = kinds.get(row.kind)
    if create is None:
        raise BadConfig(f"kind {row.kind!r} is not one this worker knows")
    return await create(Setup(row.id, row.name, row.config, secret))
