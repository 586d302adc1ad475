"""TLS on both ports: versions, STARTTLS and its abuse, certificates that cannot be served."""

import asyncio
import datetime as dt
import re
import shutil
import ssl
from pathlib import Path

import pytest
import trustme
from pydantic import ValidationError

from backing.settings import ConfigurationError
from relay.certificates.files import read_certificates
from tests.conftest import IN_CI
from tests.relay.house import PLAIN, Files, Running, relay, settings, until

pytestmark = pytest.mark.anyio


@pytest.mark.requirement("TLS-001")
@pytest.mark.requirement("TLS-002")
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_mail_over(files: Files, version: ssl.TLSVersion, implicit: bool) -> None:  # noqa: FBT001
    async with relay(files) as running:
        running.trust.minimum_version = running.trust.maximum_version = version
        peer = await running.connect(implicit_tls=implicit)
        await peer.expect("220")
        if not implicit:
            await peer.ask("EHLO a.example", "250")
            await peer.start_tls()
            await peer.ask("MAIL FROM:<me@example.com>", "503 5.5.1 Send EHLO first")
        assert "STARTTLS" not in await peer.ask("EHLO a.example", "250")
        await peer.ask(f"AUTH PLAIN {PLAIN}", "235")
        assert (await peer.submit(b"x" * 100_000)).startswith("250 ")
        (job,) = running.queue.jobs
        assert peer.writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        assert version.name.replace("_", ".").encode() in (job.body if isinstance(job.body, bytes) else b"")


@pytest.mark.requirement("TLS-011")
@pytest.mark.filterwarnings("ignore:.*TLSv1.*:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
async def test_older_versions_are_refused(files: Files, version: ssl.TLSVersion) -> None:
    async with relay(files) as running:
        running.trust.set_ciphers("ALL:@SECLEVEL=0")
        running.trust.minimum_version = running.trust.maximum_version = version
        with pytest.raises((ssl.SSLError, ConnectionError), match=r"PROTOCOL_VERSION|protocol version|reset"):
            await running.connect(implicit_tls=True)
        await until(lambda: running.counted("relay_connections_total", result="tls_failed") == 1)


async def test_plain_text_after_starttls_ends_the_session(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.connect()
        await peer.expect("220")
        peer.send(b"EHLO a.example\r\nSTARTTLS\r\nMAIL FROM:<me@example.com>\r\nNOOP\r\n")
        await peer.expect("250")
        await peer.expect("501 5.5.1 Octets after STARTTLS, closing")
        assert await peer.rest() == b""
        await peer.close()


async def test_what_is_not_tls_ends_the_session(files: Files) -> None:
    async with relay(files) as running:
        for port, opening in ((running.port(), b"EHLO a\r\nSTARTTLS\r\n"), (running.port(implicit_tls=True), b"")):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            if opening:
                writer.write(opening)
                await reader.readuntil(b"220 2.0.0 Ready to start TLS\r\n")
            writer.write(b"MAIL FROM:<me@example.com>\r\n" * 10)
            assert b"250" not in await asyncio.wait_for(reader.read(), 10)
            writer.close()
            await writer.wait_closed()
        await until(lambda: running.counted("relay_connections_total", result="tls_failed") == 2)


async def test_a_connection_without_an_octet_is_only_counted(files: Files) -> None:
    async with relay(files) as running:
        for implicit in (True, False):
            _, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit))
            writer.close()
            await writer.wait_closed()
        await until(lambda: running.counted("relay_connections_total", result="probe") == 2)
        assert running.counted("relay_connections_total", result="served") == 0


def issue(folder: Path, files: Files, *, expires: dt.datetime | None = None) -> tuple[Path, Path]:
    pair = files.ca.issue_cert("localhost", not_after=expires)
    certificate, key = folder / "c.pem", folder / "k.pem"
    pair.cert_chain_pems[0].write_to_path(certificate)
    pair.private_key_pem.write_to_path(key)
    return certificate, key


def complaint(certificate: Path, key: Path, **changes: object) -> str:
    files = Files(trustme.CA(), certificate, key)
    with pytest.raises(ConfigurationError) as refusal:
        read_certificates(settings(files, **changes))
    return str(refusal.value)


def test_what_cannot_be_served_is_said(files: Files, tmp_path: Path) -> None:
    certificate, key = issue(tmp_path, files)
    junk = tmp_path / "junk"
    junk.write_text("not PEM")
    assert complaint(tmp_path / "none", key).startswith("RELAY_CERTIFICATE_FILE: ")
    assert "cannot be read: No such file" in complaint(certificate, tmp_path / "none")
    assert complaint(junk, key) == f"RELAY_CERTIFICATE_FILE: {junk} is not a PEM certificate"
    assert complaint(certificate, junk).startswith(f"RELAY_PRIVATE_KEY_FILE: {junk} holds no usable key")
    assert complaint(certificate, files.key) == f"RELAY_PRIVATE_KEY_FILE: {files.key} is not the key of the certificate"


def test_a_certificate_out_of_date_is_not_served(files: Files, tmp_path: Path) -> None:
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    certificate, key = issue(tmp_path, files, expires=yesterday)
    assert complaint(certificate, key).startswith(f"RELAY_CERTIFICATE_FILE: {certificate} expired on ")


def test_client_certificates_need_an_authority(files: Files, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("not PEM")
    asked = {"relay_tls_client_certificates": "optional", "relay_client_ca_file": str(tmp_path / "ca.pem")}
    said = complaint(files.certificate, files.key, **asked)
    assert said == f"RELAY_CLIENT_CA_FILE: {tmp_path / 'ca.pem'} holds no PEM certificates"
    said = complaint(files.certificate, files.key, **asked | {"relay_client_ca_file": str(tmp_path / "none")})
    assert said == f"RELAY_CLIENT_CA_FILE: {tmp_path / 'none'} cannot be read: No such file or directory"
    with pytest.raises(ValidationError, match="RELAY_TLS_CLIENT_CERTIFICATES: required needs RELAY_CLIENT_CA_FILE or "):
        settings(files, relay_tls_client_certificates="required")
    said = complaint(files.certificate, files.key, relay_certificate_folder=str(tmp_path / "none"))
    assert said == f"RELAY_CERTIFICATE_FOLDER: {tmp_path / 'none'} cannot be read: No such file or directory"


def test_an_encrypted_key_does_not_ask_for_its_password(files: Files, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415

    certificate, key = issue(tmp_path, files)
    private = serialization.load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"password"),
        )
    )
    assert complaint(certificate, key).startswith(f"RELAY_PRIVATE_KEY_FILE: {key} holds no usable key")


@pytest.mark.requirement("TLS-009")
async def test_a_certificate_of_a_private_authority_serves_who_trusts_it(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        running.trust = ssl.create_default_context()
        trustme.CA().configure_trust(running.trust)
        with pytest.raises(ssl.SSLCertVerificationError):
            await running.connect(implicit_tls=True)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_no_compression_and_a_good_cipher(files: Files, version: str) -> None:
    async with relay(files) as running:
        said = await s_client(running, b"", version)
        assert b"Compression: NONE" in said
        assert re.search(rb"Cipher is (ECDHE-ECDSA|ECDHE-RSA|TLS)[-_](AES|CHACHA20)", said)


async def test_renegotiation_is_refused(files: Files) -> None:
    async with relay(files) as running:
        # An "R" on a line of its own makes this client ask for another handshake.
        said = await s_client(running, b"R\n", "-tls1_2")
        assert b"RENEGOTIATING" in said
        assert b"no renegotiation" in said
        assert await (await running.signed_in()).ask("NOOP", "250")


async def s_client(running: Running, said: bytes, *options: str) -> bytes:
    """What OpenSSL's own client prints of a session in which it says something."""
    openssl = shutil.which("openssl")
    if openssl is None:
        assert not IN_CI, "CI has to provide the openssl command"
        pytest.skip("the openssl command is not installed")
    client = await asyncio.create_subprocess_exec(
        openssl,
        *("s_client", "-connect", f"127.0.0.1:{running.port(implicit_tls=True)}", *options),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert client.stdout
    greeting = await asyncio.wait_for(client.stdout.readuntil(b"220 relay.test ESMTP\r\n"), 10)
    rest, _ = await asyncio.wait_for(client.communicate(said), 10)
    return greeting + rest
