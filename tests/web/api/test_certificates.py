"""Certificates over the API: what the relay's secrets hold, and never a key."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import trustme

from backing.certificates.bundle import Bundle, encode
from backing.certificates.material import Material
from tests.conftest import REGION
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
DIRECTORY = "https://acme.example/dir"
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
GONE = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


def bundle(until: datetime) -> Bundle:
    issued = trustme.CA().issue_cert("smtp.example", "*.smtp.example", not_after=until)
    chain = b"".join(each.bytes() for each in issued.cert_chain_pems)
    return Bundle(Material(chain, issued.private_key_pem.bytes()), ("smtp.example",), DIRECTORY)


async def test_names_and_dates_are_told_and_no_key(chosen: Chosen, accounts: None, moto_url: str) -> None:  # noqa: ARG001 - in its database
    client: Any = boto3.client("secretsmanager", endpoint_url=moto_url, region_name=REGION)
    good, old, wrong, missing = (f"{uuid.uuid1()}-{n}" for n in range(4))
    versions = {
        name: client.create_secret(Name=name, SecretString=text)["VersionId"]
        for name, text in ((good, encode(bundle(SOON))), (old, encode(bundle(GONE))), (wrong, "hush-hush"))
    }
    async with serving(chosen(relay_certificate_secrets=(good, old, wrong, missing))) as door:
        answer = await door.get(PATH, await door.key())
        assert answer.status == 200, answer
        assert b"PRIVATE" not in answer.body
        assert b"hush" not in answer.body
        first, second, third, fourth = answer.json["items"]
        assert first == {
            "secret": good,
            "version": versions[good],
            "names": ["*.smtp.example", "smtp.example"],
            "not_before": first["not_before"],
            "not_after": SOON.isoformat().replace("+00:00", "Z"),
            "issuer": first["issuer"],
            "source": DIRECTORY,
            "fault": None,
        }
        assert "trustme" in first["issuer"]
        assert (second["names"], second["not_after"]) == (first["names"], GONE.isoformat().replace("+00:00", "Z"))
        assert second["fault"] == f"expired on {GONE.isoformat(timespec='minutes')}"
        nothing = dict.fromkeys(("not_before", "not_after", "issuer", "source")) | {"names": []}
        assert third == {
            **nothing,
            "secret": wrong,
            "version": versions[wrong],
            "fault": "is no JSON object with PEM texts `certificate` and `key`",
        }
        assert fourth == {
            **nothing,
            "secret": missing,
            "version": None,
            "fault": "there is no such secret, or nothing in it yet",
        }


async def test_they_are_for_operators(door: Door) -> None:
    assert (await door.get(PATH, await door.key())).json == {"items": [], "next": None}
    assert (await door.get(PATH, await door.key("shop"))).status == 403
    handed = await door.post(
        "/api/v1/keys", await door.key("shop"), json={"name": "x", "scopes": ["certificates:read"]}
    )
    assert handed.status == 403
