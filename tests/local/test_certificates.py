import ipaddress
import ssl
import stat
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from backing.certificates.record import Record, decode
from local import certificates
from local.__main__ import main
from local.certificates import Key, elliptic, ensure, rsa_2048
from local.settings import ROOT

NOW = datetime.now(UTC)
KINDS = pytest.mark.parametrize("new_key", [elliptic, rsa_2048])


def openssl(*arguments: str | Path) -> str:
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, text=True).stdout


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.requirement("TLS-007", "TLS-009", "SC-2.2")
@KINDS
def test_openssl_verifies_the_chain_strictly_and_shows_names_and_dates(
    tmp_path: Path, new_key: Callable[[], Key]
) -> None:
    ensure(tmp_path, new_key, NOW)
    for name in ("localhost", "127.0.0.1", "::1"):
        how = "-verify_hostname" if name == "localhost" else "-verify_ip"
        command = ("verify", "-x509_strict", "-purpose", "sslserver", how, name, "-CAfile", tmp_path / "ca.pem")
        assert openssl(*command, tmp_path / "server.pem").endswith("server.pem: OK\n")
    shown = openssl("x509", "-in", tmp_path / "server.pem", "-noout", "-text")
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in shown
    assert f"Not After : {NOW + timedelta(days=364):%b}" in shown
    assert ("NIST CURVE: P-256" in shown) != ("Public-Key: (2048 bit)" in shown)


@pytest.mark.requirement("SC-2.1")
def test_it_names_this_machine_and_lasts_365_days(tmp_path: Path) -> None:
    ensure(tmp_path, elliptic, NOW)
    certificate, root = x509.load_pem_x509_certificates((tmp_path / "server.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("127.0.0.1"),
        ipaddress.ip_address("::1"),
    ]
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=365)
    assert root == x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())


@pytest.mark.requirement("TLS-012", "SC-2.1")
def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    ensure(tmp_path, elliptic, NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == {"ca.pem": 0o644, "server.pem": 0o644, "ca.key": 0o600, "server.key": 0o600}


@pytest.mark.requirement("TLS-012")
def test_no_key_is_in_version_control() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert not [name for name in listed if name.endswith((".key", ".pem"))]
    secret = [".local/certs/server.key", ".local/secrets/pgpass", ".env"]
    ignored = subprocess.run(["git", "check-ignore", *secret], cwd=ROOT, check=False, capture_output=True, text=True)
    assert ignored.stdout.split() == secret


@pytest.mark.requirement("SC-2.3", "SC-1.2")
def test_existing_files_are_left_alone(tmp_path: Path) -> None:
    assert ensure(tmp_path, elliptic, NOW).startswith("made")
    before = contents(tmp_path)
    assert "are kept" in ensure(tmp_path, rsa_2048, NOW + timedelta(days=364))
    assert contents(tmp_path) == before


def names_of(folder: Path) -> list[str]:
    certificate = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())[0]
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


@KINDS
def test_more_names_come_from_the_authority_that_is_trusted_already(tmp_path: Path, new_key: Callable[[], Key]) -> None:
    ensure(tmp_path, new_key, NOW, ["smtp.test"])
    assert names_of(tmp_path) == ["localhost", "smtp.test"]
    before = contents(tmp_path)
    assert "are kept" in ensure(tmp_path, new_key, NOW, ["smtp.test", "localhost"])
    assert contents(tmp_path) == before
    said = ensure(tmp_path, new_key, NOW, ["smtp.test", "mail.test"])
    assert said.startswith("made a server certificate for mail.test as well in")
    after = contents(tmp_path)
    assert names_of(tmp_path) == ["localhost", "smtp.test", "mail.test"]
    assert {name for name in after if after[name] == before[name]} == {"ca.pem", "ca.key"}
    assert openssl("verify", "-verify_hostname", "mail.test", "-CAfile", tmp_path / "ca.pem", tmp_path / "server.pem")
    (tmp_path / "ca.key").unlink()
    with pytest.raises(certificates.UnusableCertificates, match="No such file"):
        ensure(tmp_path, new_key, NOW, ["third.test"])


def test_the_command_takes_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert certificates.main([str(tmp_path / "certs"), "--rsa", "smtp.test"]) == 0
    assert names_of(tmp_path / "certs") == ["localhost", "smtp.test"]
    told = decode((tmp_path / "certs" / "server.json").read_text())
    assert told
    (leaf, _) = x509.load_pem_x509_certificates((tmp_path / "certs" / "server.pem").read_bytes())
    assert told == Record(
        host="localhost",
        names=("localhost", "smtp.test"),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        issuer=leaf.issuer.rfc4514_string(),
        source="local",
        due_at=leaf.not_valid_after_utc,
        due_because="the first start after its end makes a new one",
        checked_at=told.checked_at,
        result="kept",
    )
    assert main(["trust", "--state", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    commands = [line for line in said.splitlines() if line.startswith("  ")]
    assert len(commands) > 5
    assert all(str(tmp_path / "certs" / "ca.pem") in line for line in commands)
    assert {"macOS", "Windows", "Debian, Ubuntu, Alpine"} <= {line[2:].split("  ")[0] for line in commands}
    assert main(["trust", "--state", str(tmp_path / "none")]) == 1
    assert "`python -m local up` makes it" in capsys.readouterr().err


def test_expired_ones_are_renewed_and_it_says_so(tmp_path: Path) -> None:
    ensure(tmp_path, elliptic, NOW - timedelta(days=366))
    before = contents(tmp_path)
    assert "had expired" in ensure(tmp_path, elliptic, NOW)
    assert "are kept" in ensure(tmp_path, elliptic, NOW)
    assert not before.items() & contents(tmp_path).items()


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [("server.pem", b"nonsense", "remove its files"), ("server.key", None, "No such file"), ("ca.pem", b"", "PEM")],
)
def test_unusable_ones_are_reported_and_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes | None, fault: str
) -> None:
    ensure(tmp_path, elliptic, NOW)
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    before = contents(tmp_path)
    assert certificates.main([str(tmp_path)]) == 1
    assert fault in capsys.readouterr().err
    assert contents(tmp_path) == before


def test_a_key_of_another_pair_is_reported(tmp_path: Path) -> None:
    ensure(tmp_path / "one", elliptic, NOW)
    ensure(tmp_path / "two", elliptic, NOW)
    (tmp_path / "two/server.key").replace(tmp_path / "one/server.key")
    with pytest.raises(certificates.UnusableCertificates, match=r"server\.key does not fit"):
        ensure(tmp_path / "one", elliptic, NOW)


@KINDS
def test_a_client_with_the_strictest_checks_is_content(tmp_path: Path, new_key: Callable[[], Key]) -> None:
    ensure(tmp_path, new_key, NOW)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.pem", tmp_path / "server.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VerifyFlags(0x80000)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname="localhost")
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(3):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert asking.version() == "TLSv1.3"
