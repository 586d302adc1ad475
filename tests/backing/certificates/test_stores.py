"""Where certificates are kept: files, bundles, records of a zone."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backing.certificates.bundle import Bundle, Kept, decode, encode
from backing.certificates.files import PairOfFiles, TextFile, replace
from backing.certificates.ledger import FileLedger
from backing.certificates.material import BadCertificate, Material
from backing.route53 import WrongZone, Zone
from mail.errors import Unavailable

pytestmark = pytest.mark.anyio
PAIR = Material(b"chain\n", b"key\n")


def test_a_bundle_is_read_as_it_was_written() -> None:
    bundle = Bundle(PAIR, ("a.example", "b.example"), "https://acme.example/dir")
    assert decode(encode(bundle)) == bundle
    assert decode('{"certificate": "chain\\n", "key": "key\\n"}') == Bundle(PAIR, (), "import")
    assert "key\n" not in repr(bundle)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "secret",
        "[]",
        "null",
        '"text"',
        "{}",
        '{"certificate": 1, "key": 2}',
        '{"certificate": "\\u00fc", "key": ""}',
    ],
)
def test_what_is_no_bundle_is_not_repeated(text: str) -> None:
    with pytest.raises(BadCertificate) as fault:
        decode(text)
    assert str(fault.value) == "is no JSON object with PEM texts `certificate` and `key`"


@pytest.mark.requirement("TLS-012")
async def test_files_are_whole_and_keys_are_for_their_owner(tmp_path: Path) -> None:
    store = PairOfFiles(tmp_path / "new" / "folder", "server")
    assert await store.read() is None
    await store.write(Bundle(PAIR, ("a.example",), "https://acme.example/dir"))
    assert await store.read() == Kept(Bundle(PAIR, (), "https://acme.example/dir"))
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "new" / "folder").iterdir()}
    assert modes == {"server.pem": 0o644, "server.key": 0o600, "server.source": 0o600}
    (tmp_path / "new" / "folder" / "server.source").unlink()
    assert await store.read() == Kept(Bundle(PAIR, (), "import"))


async def test_what_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    (tmp_path / "server.pem").mkdir()
    store = PairOfFiles(tmp_path, "server")
    with pytest.raises(Unavailable, match=r"server.pem cannot be written: Is a directory"):
        await store.write(Bundle(PAIR, (), "import"))
    with pytest.raises(Unavailable, match=r"server.pem or its key cannot be read: .*Is a directory"):
        await store.read()
    with pytest.raises(OSError, match="Is a directory"):
        replace(tmp_path / "server.pem", b"", 0o644)
    assert sorted(os.listdir(tmp_path)) == ["server.key", "server.pem"]  # noqa: PTH208 - in a coroutine
    with pytest.raises(Unavailable, match="cannot be read"):
        await TextFile(tmp_path / "server.pem").read()
    ledger = FileLedger(tmp_path / "server.pem")
    with pytest.raises(Unavailable, match="cannot be read"):
        await ledger.look()
    with pytest.raises(Unavailable, match="cannot be written"):
        await ledger.save("memory")


class Route53:
    """A zone whose changes take their time; moto's are everywhere at once."""

    def __init__(self, *states: str, fault: Exception | None = None) -> None:
        self.states = list(states)
        self.fault = fault
        self.changes: list[Any] = []

    async def change_resource_record_sets(self, **asked: Any) -> Any:
        self.changes += asked["ChangeBatch"]["Changes"]
        if self.fault:
            raise self.fault
        return {"ChangeInfo": {"Id": "/change/C1", "Status": "PENDING"}}

    async def get_change(self, **asked: Any) -> Any:
        assert asked == {"Id": "/change/C1"}
        if self.states[0] == "fault":
            raise ConnectionError("gone")
        return {"ChangeInfo": {"Id": "/change/C1", "Status": self.states.pop(0) if self.states[1:] else self.states[0]}}


async def test_records_are_waited_for() -> None:
    client = Route53("PENDING", "PENDING", "INSYNC", "none")
    await Zone(client, "Z1", 0.01).publish({"_acme-challenge.a.example": ["two", "one"]}, 5)
    assert client.states == ["none"]
    assert client.changes == [
        {
            "Action": "UPSERT",
            "ResourceRecordSet": {
                "Name": "_acme-challenge.a.example",
                "Type": "TXT",
                "TTL": 60,
                "ResourceRecords": [{"Value": '"one"'}, {"Value": '"two"'}],
            },
        }
    ]


async def test_records_that_do_not_come_are_said() -> None:
    with pytest.raises(Unavailable, match=r"Route 53 Z1: records are not everywhere after 0.05 s"):
        await Zone(Route53("PENDING"), "Z1", 0.01).publish({"a.example": ["x"]}, 0.05)
    with pytest.raises(Unavailable, match="Route 53 GetChange: ConnectionError: gone"):
        await Zone(Route53("fault"), "Z1", 0.01).publish({"a.example": ["x"]}, 5)


async def test_what_a_zone_does_not_take_is_said() -> None:
    def error(code: str) -> ClientError:
        return ClientError({"Error": {"Code": code, "Message": "not permitted in zone example.com."}}, "Change")

    texts = {"a.example": ["x"], "b.example": ["y"]}
    foreign = Route53(fault=error("InvalidChangeBatch"))
    with pytest.raises(WrongZone, match=r"Route 53 zone Z1: not permitted in zone example.com."):
        await Zone(foreign, "Z1").publish(texts, 5)
    foreign.changes.clear()
    await Zone(foreign, "Z1").withdraw(texts)
    assert [change["Action"] for change in foreign.changes] == ["DELETE", "DELETE"]
    for fault in (error("AccessDenied"), TimeoutError()):
        with pytest.raises(Unavailable, match="Route 53 Z1"):
            await Zone(Route53(fault=fault), "Z1").withdraw(texts)
