"""Providers are built once for each version of their row, with their secret opened under KMS."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiobotocore.session import get_session

from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.routing import ProviderRow
from backing.provider_configs import BadConfig
from backing.secrets import Vault
from mail.delivery import RecipientResult
from mail.errors import Unavailable
from tests.conftest import REGION
from worker.providers.base import Capabilities, Envelope, Provider, Setup
from worker.providers.means import Means
from worker.providers.registry import Providers, kinds
from worker.providers.trail import Trail
from worker.providers.web import http_session

pytestmark = pytest.mark.anyio


class Noted:
    """A provider that only notes what happened to it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.closed = False
        self.capabilities = Capabilities(verified_tls=False)

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        raise NotImplementedError

    async def check(self, trail: Trail) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
async def vault(moto_url: str) -> AsyncIterator[Vault]:
    async with get_session().create_client("kms", region_name="eu-central-1", endpoint_url=moto_url) as kms:
        key = await kms.create_key()
        yield Vault(kms, key["KeyMetadata"]["KeyId"])


def row(secret: bytes | None = None, kind: str = "noted") -> ProviderRow:
    return ProviderRow(new_id(), "main", kind, {"a": 1}, secret, 1, enabled=True, limits={}, allowed_domains=None)


async def test_a_provider_is_built_once_for_each_version(vault: Vault) -> None:
    made: list[Noted] = []

    async def create(setup: Setup) -> Provider:
        made.append(Noted(setup))
        return made[-1]

    first = row()
    first = replace(first, secret=(await vault.seal(first.id, "s3cret")).octets)
    second = replace(first, version=2, config={"a": 2})
    async with Providers(vault, {"noted": create}) as providers:
        assert await providers.get(first) is await providers.get(first) is made[0]
        assert (made[0].setup.config, made[0].setup.secret) == ({"a": 1}, "s3cret")
        assert "s3cret" not in repr(made[0].setup)
        assert "{" not in repr(made[0].setup), "a name in a configuration may be a key"
        assert await providers.get(second) is made[1]
        assert (len(made), made[0].closed, made[1].closed) == (2, True, False)
        assert await providers.get(first) is made[1], "claimed before the change"
    assert made[1].closed


async def test_what_cannot_be_built_is_told_until_its_row_changes(vault: Vault) -> None:
    async def create(setup: Setup) -> Provider:
        if setup.config == {"a": 1}:
            raise BadConfig("a: must not be 1")
        return Noted(setup)

    async with Providers(vault, {"noted": create}) as providers:
        wrong = row()
        for _ in range(2):
            with pytest.raises(BadConfig, match="a: must not be 1"):
                await providers.get(wrong)
        assert isinstance(await providers.get(replace(wrong, version=2, config={})), Noted)
        with pytest.raises(BadConfig, match="kind 'pigeon' is not one"):
            await providers.get(row(kind="pigeon"))


async def test_a_secret_that_cannot_be_opened_now_may_be_opened_later(vault: Vault) -> None:
    async def create(setup: Setup) -> Provider:
        return Noted(setup)

    sealed = row(kind="noted")
    other = (await vault.seal(new_id(), "s3cret")).octets
    async with Providers(vault, {"noted": create}) as providers:
        with pytest.raises(Unavailable):
            await providers.get(replace(sealed, secret=other))
        good = replace(sealed, secret=(await vault.seal(sealed.id, "s3cret")).octets)
        assert isinstance(await providers.get(good), Noted)


async def test_every_kind_that_a_row_may_have_can_be_built(vault: Vault) -> None:
    configs = {
        "smtp": {"host": "127.0.0.1"},
        "ses": {},
        "mailgun": {"domain": "mg.example"},
        "sendgrid": {"mode": "api"},
        "postmark": {},
        "sandbox": {},
    }
    async with http_session(()) as http:
        async with Providers(vault, kinds(Means(Aws(REGION), http, http))) as providers:
            for kind, config in configs.items():
                made = replace(row(kind=kind), config=config)
                made = replace(made, secret=(await vault.seal(made.id, "s3cret")).octets)
                assert (await providers.get(made)).capabilities.max_recipients >= 50
        assert not http.closed, "it belongs to the worker"
