"""Secrets are sealed anew by the KMS key that is configured now, and never put over one that is newer."""

from typing import Any

import boto3
import pytest

from backing.admin.desk import Desk
from backing.admin.providers import Providers
from backing.admin.webhooks import Webhooks
from backing.postgres.inquiries import EndpointSecrets, Inquiries
from backing.postgres.routing import ProviderRow
from backing.secrets import Vault
from tests.conftest import REGION
from tests.waiting import until
from tests.worker.inquiries.office import SECONDS, Office
from worker.inquiries.reseal import resealed

pytestmark = pytest.mark.anyio

SECRET = "hush-hush-0123456789"


def provider_row(office: Office) -> tuple[Any, ...]:
    (row,) = office.books.run("SELECT id, secret, secret_key, version, secret_sealed_at FROM provider")
    return row


def pending(office: Office) -> list[tuple[Any, ...]]:
    return office.books.run("SELECT id FROM inquiry WHERE answered_at IS NULL")


async def test_a_providers_secret_goes_under_the_new_key(office: Office, key: str, other_key: str) -> None:
    async with office.aws.kms() as kms:
        new = Vault(kms, other_key)
        await office.provider("sandbox", {}, SECRET)
        provider, old, under, version, at = provider_row(office)
        assert under == key
        assert await office.asking.reseal("shop", "main", "tester")
        assert not await office.asking.reseal("shop", "main", "tester"), "it is asked for already"
        async with office.answering(vault=new):
            await until(lambda: not pending(office), SECONDS)
        _, sealed, under, now_version, later = provider_row(office)
        assert (under, now_version) == (other_key, version)
        assert later > at
        assert bytes(sealed) != bytes(old)
        assert await new.open(provider, bytes(sealed)) == SECRET
        # Either worker opens either: KMS finds the key by the blob.
        assert await office.vault.open(provider, bytes(sealed)) == await new.open(provider, bytes(old)) == SECRET
    told = await office.asking.secret("shop", "main")
    assert (told["state"], told["words"]) == (
        "done",
        f"It is sealed under a new data key, by the KMS key {other_key}.",
    )


async def test_the_key_before_may_be_disabled_afterwards(
    office: Office, key: str, other_key: str, moto_url: str
) -> None:
    """The way of a key that is replaced: an alias moves, all is sealed anew, nothing is left under the old key."""
    client: Any = boto3.client("kms", endpoint_url=moto_url, region_name=REGION)
    client.create_alias(AliasName="alias/moving", TargetKeyId=key)
    async with office.aws.kms() as kms:
        vault = Vault(kms, "alias/moving")
        endpoint = await Webhooks(Desk(office.database), vault).create("shop", "https://shop.example/events")
        await office.provider("sandbox", {}, SECRET)
        client.update_alias(AliasName="alias/moving", TargetKeyId=other_key)
        assert await office.asking.reseal_providers(None, "tester") == 1
        assert await office.asking.reseal_endpoints(None, "tester") == 1
        async with office.answering(vault=vault):
            await until(lambda: not pending(office), SECONDS)
        found = office.books.run("SELECT secret_key, secret, id FROM webhook_endpoint")
        provider, sealed, under, *_ = provider_row(office)
        assert (under, found[0][0], found[0][2]) == (other_key, other_key, endpoint.id)
        assert await vault.open(provider, bytes(sealed)) == SECRET
        assert await vault.open(endpoint.id, bytes(found[0][1])) == endpoint.secret


async def test_a_secret_that_is_set_meanwhile_stays(office: Office) -> None:
    await office.provider("sandbox", {}, SECRET)
    await office.asking.reseal("shop", "main", "tester")
    inquiries = Inquiries(office.worker)
    (taken,) = await inquiries.take(1)
    assert isinstance(taken.subject, ProviderRow)
    await Providers(Desk(office.database), office.vault).set_secret("shop", "main", "newer")
    verdict = await resealed(taken, inquiries, office.vault)
    provider, sealed, *_ = provider_row(office)
    assert verdict.words == "Another secret was set meanwhile, which stays."
    assert await office.vault.open(provider, bytes(sealed)) == "newer"


@pytest.mark.parametrize("turns", [0, 1, 2])
async def test_both_secrets_of_an_endpoint_go_under_the_new_key(office: Office, other_key: str, turns: int) -> None:
    """The endpoint may get another secret before its first two are sealed, and between their opening and sealing."""
    webhooks = Webhooks(Desk(office.database), office.vault)
    first = await webhooks.create("shop", "https://shop.example/events")
    second = await webhooks.rotate("shop", first.id)
    await office.asking.reseal_endpoints("shop", "tester")
    async with office.aws.kms() as kms:
        new, inquiries = Vault(kms, other_key), Inquiries(office.worker)
        (taken,) = await inquiries.take(1)
        assert isinstance(taken.subject, EndpointSecrets)
        known = [first.secret, second.secret]
        known += [(await webhooks.rotate("shop", first.id)).secret for _ in range(turns)]
        verdict = await resealed(taken, inquiries, new)
        ((current, previous, under),) = office.books.run(
            "SELECT secret, previous_secret, secret_key FROM webhook_endpoint"
        )
        opened = [await new.open(first.id, bytes(each)) for each in (previous, current)]
    assert opened == known[-2:]
    assert (under == other_key, "sealed under a new data key" in verdict.words) == (turns == 0, turns == 0)
    if turns == 1:
        assert bytes(previous) != taken.subject.secret, "what was the first is sealed anew as the previous one"


async def test_what_does_not_open_is_told_and_stays(office: Office) -> None:
    await office.provider("sandbox", {}, SECRET)
    office.books.run("UPDATE provider SET secret = substring(secret FROM 1 FOR 60)")
    _, before, *_ = provider_row(office)
    await office.asking.reseal("shop", "main", "tester")
    async with office.answering():
        await until(lambda: not pending(office), SECONDS)
    told = await office.asking.secret("shop", "main")
    assert told["state"] == "failed"
    assert "Nothing was changed" in told["words"]
    assert provider_row(office)[1] == before


async def test_mail_goes_on_with_the_provider_as_it_was_opened(office: Office) -> None:
    """What is sealed anew is the same secret, so nothing is built anew: the version stays."""
    provider = await office.provider("sandbox", {}, SECRET)
    office.books.run("UPDATE provider SET version = 7 WHERE id = %s", provider)
    await office.asking.reseal_providers("shop", "tester")
    async with office.answering():
        await until(lambda: not pending(office), SECONDS)
    assert provider_row(office)[3] == 7
