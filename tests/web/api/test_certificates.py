"""Certificates over the API: what their renewers have left word of, and never a key."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from pydantic import ValidationError

from backing.aws import Aws
from backing.certificates.record import Record, TableText, encode
from mail.errors import Unavailable
from tests.conftest import REGION
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio

PATH = "/api/v1/certificates"
DIRECTORY = "https://acme.example/dir"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
NOTHING: dict[str, Any] = {
    "names": [],
    "version": None,
    "not_before": None,
    "not_after": None,
    "issuer": None,
    "source": None,
    "fault": None,
    "due_at": None,
    "due_because": None,
    "checked_at": None,
    "result": None,
    "failures": 0,
    "failure": None,
}


def utc(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def record(host: str, until: datetime) -> Record:
    issued = trustme.CA().issue_cert(host, f"*.{host}", not_before=until - 90 * DAY, not_after=until)
    return Record(
        host=host,
        version="v1",
        source=DIRECTORY,
        due_at=until - 30 * DAY,
        due_because="by its lifetime",
        checked_at=NOW,
        result="kept",
    ).of(b"".join(each.bytes() for each in issued.cert_chain_pems))


@pytest.fixture
def table(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    name = f"t-{uuid.uuid1()}"
    client: Any = boto3.client("dynamodb", endpoint_url=moto_url, region_name=REGION)
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


async def leave(table: str, host: str, text: str) -> None:
    async with Aws(REGION).dynamodb() as client:
        await TableText(client, table, host).write(text)


@pytest.mark.usefixtures("accounts")
async def test_what_renewers_have_left_word_of_is_told(chosen: Chosen, table: str, tmp_path: Path) -> None:
    good, old, failing, broken, missing = (f"{name}.example" for name in ("good", "old", "bad", "broken", "missing"))
    await leave(table, good, encode(record(good, NOW + 80 * DAY)))
    await leave(table, old, encode(record(old, NOW - DAY)))
    failed = Record(host=failing, fault="there is none", result="failed", checked_at=NOW, failures=5, failure="away")
    await leave(table, failing, encode(failed))
    await leave(table, broken, "no record")
    file = tmp_path / "server.json"
    file.write_text(encode(replace(record("file.example", NOW + DAY), version=None, source="import")))
    given = {
        "certificate_table": table,
        "certificate_hosts": (good, old, failing, broken, missing),
        "certificate_record_files": (str(file),),
    }
    async with serving(chosen(**given)) as door:
        answer = await door.get(PATH, await door.key())
    assert (answer.status, answer.json["next"]) == (200, None)
    found = {each.pop("host"): each for each in answer.json["items"]}
    assert "trustme" in found[good].pop("issuer")
    assert found[good] == {
        **{name: value for name, value in NOTHING.items() if name != "issuer"},
        "names": [f"*.{good}", good],
        "version": "v1",
        "not_before": utc(NOW - 10 * DAY),
        "not_after": utc(NOW + 80 * DAY),
        "source": DIRECTORY,
        "due_at": utc(NOW + 50 * DAY),
        "due_because": "by its lifetime",
        "checked_at": utc(NOW),
        "result": "kept",
    }
    # It was good when its renewer saw it last.
    assert (found[old]["result"], found[old]["fault"]) == (
        "kept",
        f"expired on {(NOW - DAY).isoformat(timespec='minutes')}",
    )
    assert found[failing] == NOTHING | {
        "fault": "there is none",
        "checked_at": utc(NOW),
        "result": "failed",
        "failures": 5,
        "failure": "away",
    }
    words = "its record cannot be read; the next run of the renewer writes it anew"
    assert found[broken] == NOTHING | {"fault": words}
    assert found[missing] == NOTHING | {"fault": "nothing is known of it before the first run of the renewer"}
    assert (found["file.example"]["version"], found["file.example"]["source"]) == (None, "import")
    assert len(found) == 6


@pytest.mark.usefixtures("accounts")
async def test_a_table_that_is_away_is_answered(chosen: Chosen, table: str) -> None:
    given = {"certificate_table": f"{table}-none", "certificate_hosts": ("smtp.example",)}
    async with serving(chosen(**given)) as door:
        answer = await door.get(PATH, await door.key())
    assert (answer.status, table in answer.body.decode()) == (503, False)
    async with Aws(REGION).dynamodb() as client:
        with pytest.raises(Unavailable, match=f"DynamoDB PutItem {table}-none: "):
            await TableText(client, f"{table}-none", "smtp.example").write("record")


def test_hosts_are_looked_for_in_a_table(chosen: Chosen) -> None:
    with pytest.raises(ValidationError, match="CERTIFICATE_TABLE: needed with CERTIFICATE_HOSTS"):
        chosen(certificate_hosts=("smtp.example",))


async def test_they_are_for_operators(door: Door) -> None:
    assert (await door.get(PATH, await door.key())).json == {"items": [], "next": None}
    assert (await door.get(PATH, await door.key("shop"))).status == 403
    handed = await door.post(
        "/api/v1/keys", await door.key("shop"), json={"name": "x", "scopes": ["certificates:read"]}
    )
    assert handed.status == 403
