"""A certificate from nothing to its place, with a real ACME server."""

import fcntl
import json
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from backing.certificates.bundle import decode
from backing.certificates.material import Material, examine
from backing.certificates.record import Record
from backing.certificates.record import decode as recorded
from tests.worker.certificates.conftest import MakeDesk
from tests.worker.certificates.pebble import HMAC_KEY, KID, Pebble, pebble
from tests.worker.certificates.zone import Zone
from worker.certificates.due import by_lifetime


@pytest.mark.requirement("SC-5.1")
@pytest.mark.requirement("TLS-004")
@pytest.mark.requirement("TLS-017")
@pytest.mark.requirement("TLS-018")
def test_the_first_certificate(make_desk: MakeDesk, acme: Pebble, zone: Zone) -> None:
    desk = make_desk(acme, "smtp.example.com", "mail.example.com")
    assert desk.run("status").code == 69
    said = desk.run("renew")
    assert (said.code, said.result) == (0, ("renewed", "renewed")), said.out
    kept = desk.kept()
    certificate = examine(kept.material, datetime.now(UTC))
    certificate.check_names(kept.names)
    assert (kept.names, kept.source) == (("smtp.example.com", "mail.example.com"), acme.directory)
    assert isinstance(certificate.leaf.public_key(), ec.EllipticCurvePublicKey)
    assert [decode(copy) for copy in desk.copies().values()] == [kept]
    assert list(desk.copies()) == [
        f"certificates/smtp.example.com/{certificate.begins_at:%Y%m%dT%H%M%SZ}-{certificate.leaf.serial_number:x}.json"
    ]
    assert zone.texts() == {}
    assert desk.run("status").code == 0
    told = desk.record()
    assert told == Record(
        host="smtp.example.com",
        names=("mail.example.com", "smtp.example.com"),
        version=desk.version(),
        not_before=certificate.begins_at,
        not_after=certificate.expires_at,
        issuer=certificate.leaf.issuer.rfc4514_string(),
        source=acme.directory,
        due_at=by_lifetime(certificate),
        due_because="by its lifetime",
        checked_at=told.checked_at,
        result="renewed",
    )
    assert told.checked_at
    assert abs(datetime.now(UTC) - told.checked_at) < timedelta(minutes=1)


@pytest.mark.requirement("TLS-018")
def test_a_wildcard_and_its_domain_are_proved_by_one_record(make_desk: MakeDesk, acme: Pebble, zone: Zone) -> None:
    desk = make_desk(acme, "*.example.com", "example.com")
    assert desk.run("renew").result == ("renewed", "renewed")
    assert examine(desk.kept().material, datetime.now(UTC)).names == {"*.example.com", "example.com"}
    assert next(iter(desk.copies())).startswith("certificates/wildcard.example.com/")
    assert zone.texts() == {}


@pytest.mark.requirement("TLS-018")
def test_a_foreign_zone_may_lead_to_ours(make_desk: MakeDesk, acme: Pebble, zone: Zone) -> None:
    zone.aliases["_acme-challenge.smtp.shop.test"] = "shop.proofs.test"
    zone.aliases["shop.proofs.test"] = "shop.example.com"
    desk = make_desk(acme, "smtp.shop.test")
    assert desk.run("renew").result == ("renewed", "renewed")
    assert "TXT _acme-challenge.smtp.shop.test" in zone.asked


def test_cnames_that_lead_nowhere_are_said(make_desk: MakeDesk, acme: Pebble, zone: Zone) -> None:
    zone.aliases["_acme-challenge.smtp.ring.test"] = "_acme-challenge.smtp.ring.test"
    said = make_desk(acme, "smtp.ring.test").run("renew")
    assert said.code == 69
    assert "more than 8 CNAMEs" in said.result[1]


def test_a_key_of_the_kind_that_was_asked_for(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "rsa.example.com")
    assert desk.run("renew", CERTIFICATE_KEY_TYPE="rsa").code == 0
    (leaf, *_) = desk.chain()
    key = leaf.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    assert key.key_size == 2048


def test_a_server_that_wants_accounts_bound(make_desk: MakeDesk, zone: Zone, tmp_path: Path, acme: Pebble) -> None:
    del acme
    with pebble(tmp_path, zone.server, eab=True) as bound:
        desk = make_desk(bound, "eab.example.com")
        said = desk.run("renew")
        assert (said.code, said.result[0]) == (69, "failed")
        assert "external account binding" in said.result[1]
        secret = desk.environment["ACME_ACCOUNT_SECRET"]
        text = json.dumps({"eab": {"kid": KID, "hmac_key": HMAC_KEY}})
        desk.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)
        said = desk.run("renew")
        assert said.result == ("renewed", "renewed")
        assert HMAC_KEY not in said.out + said.err


def test_a_server_that_refuses_many_nonces(make_desk: MakeDesk, zone: Zone, tmp_path: Path) -> None:
    with pebble(tmp_path, zone.server, {"PEBBLE_WFE_NONCEREJECT": "25", "PEBBLE_AUTHZREUSE": "100"}) as difficult:
        desk = make_desk(difficult, "nonce.example.com")
        assert desk.run("renew").result == ("renewed", "renewed")
        # The names are still proved: nothing has to be shown.
        said = desk.run("issue")
        assert said.result == ("renewed", "renewed")
        assert said.logged("order placed")[0]["to_prove"] == []


def test_a_copy_that_cannot_be_stored_keeps_nothing_back(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "copy.example.com")
    said = desk.run("renew", CERTIFICATE_BACKUP_BUCKET="there-is-none", METRICS_NAMESPACE="SmtpProxy/prod")
    assert said.result == ("renewed", "renewed")
    assert said.namespaces == {"SmtpProxy/prod"}
    assert said.counted("certificate_backup_failures_total") == [1]
    assert said.logged("certificate not copied")
    assert desk.chain()


@pytest.mark.requirement("TLS-012")
@pytest.mark.requirement("TLS-017")
def test_files_in_the_stead_of_secrets(make_desk: MakeDesk, acme: Pebble, tmp_path: Path) -> None:
    desk = make_desk(acme, "files.example.com")
    folder = tmp_path / "certificates"
    files = {
        "CERTIFICATE_FOLDER": str(folder),
        "CERTIFICATE_SECRET": "",
        "ACME_ACCOUNT_SECRET": "",
        "LOCK_TABLE": "",
        "CERTIFICATE_BACKUP_BUCKET": "",
    }
    assert desk.run("status", **files).code == 69
    assert desk.run("renew", **files).result == ("renewed", "renewed")
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {
        "server.pem": 0o644,
        "server.key": 0o600,
        "server.source": 0o600,
        "server.json": 0o644,
        "acme-account.json": 0o600,
        "acme-runs.json": 0o600,
        "acme-runs.lock": 0o600,
    }
    examine(Material((folder / "server.pem").read_bytes(), (folder / "server.key").read_bytes()), datetime.now(UTC))
    assert desk.run("renew", **files).result[0] == "kept"
    told = recorded((folder / "server.json").read_text())
    assert told
    assert (told.host, told.version, told.source, told.result, told.fault) == (
        "files.example.com",
        None,
        acme.directory,
        "kept",
        None,
    )
    with (folder / "acme-runs.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said = desk.run("issue", **files)
    assert (said.code, said.result[0]) == (75, "busy")
