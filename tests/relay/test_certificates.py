"""Which certificate is served to whom, whose clients are let in, and how files are taken up while mail goes on."""

import asyncio
import datetime as dt
import gc
import ssl
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID
from structlog.testing import capture_logs

from backing.certificates.material import BadCertificate, BadKey, Material, examine
from relay.certificates.files import CertificateFiles, read_certificates
from relay.certificates.tls import FALLBACK, Certificates, Clients, Offer
from relay.certificates.watch import Watch
from tests.relay.house import Files, Peer, Running, relay, settings, until
from tests.relay.pairs import TOMORROW, YESTERDAY, material, reloads, serial, served, watched, write

pytestmark = pytest.mark.anyio

# --- names


@pytest.mark.requirement("TLS-016")
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
async def test_the_name_asked_for_chooses_the_certificate(files: Files, tmp_path: Path, implicit: bool) -> None:  # noqa: FBT001
    fallback = Material(files.certificate.read_bytes(), files.key.read_bytes())
    exact, wild = material(files.ca, "mx.shop.example"), material(files.ca, "*.shop.example", "b\xfccher.example")
    write(tmp_path, "exact", exact)
    write(tmp_path, "wild", wild)
    async with relay(files, relay_certificate_folder=str(tmp_path)) as running:
        table = {
            "mx.shop.example": exact,
            "MX.Shop.Example": exact,
            "a.shop.example": wild,
            "b\xfccher.example": wild,
            "a.b.shop.example": fallback,
            "shop.example": fallback,
            "other.example": fallback,
            "localhost": fallback,
            None: fallback,
        }
        found = {name: await served(running, name, implicit=implicit) for name in table}
        assert found == {name: serial(what) for name, what in table.items()}


async def test_of_two_with_a_name_the_one_that_lasts_longer_is_served(files: Files, tmp_path: Path) -> None:
    write(tmp_path, "a", long := material(files.ca, "mx.shop.example"))
    write(tmp_path, "b", material(files.ca, "mx.shop.example", not_after=TOMORROW))
    async with relay(files, relay_certificate_folder=str(tmp_path)) as running:
        assert await served(running, "mx.shop.example") == serial(long)
        assert abs(running.house.certificates.expires_at - TOMORROW) < dt.timedelta(seconds=1)


# --- client certificates


@asynccontextmanager
async def with_clients(files: Files, tmp_path: Path, mode: str) -> AsyncIterator[tuple[Running, trustme.CA]]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "clients.pem")
    async with relay(
        files,
        relay_client_ca_file=str(tmp_path / "clients.pem"),
        relay_starttls_client_certificates=mode,
        relay_tls_client_certificates=mode,
    ) as running:
        yield running, authority


async def outcome(
    running: Running, trust: ssl.SSLContext, shown: trustme.LeafCert | None, *, implicit: bool
) -> tuple[str, ...] | None:
    """The names that the relay learnt from a client's certificate; None where it was not let in."""
    if shown:
        shown.configure_cert(trust)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit))
    peer = Peer(reader, writer, trust)
    running.peers.append(peer)
    try:
        if not implicit:
            await peer.expect("220")
            await peer.ask("EHLO a.example", "250")
            await peer.ask("STARTTLS", "220")
        await writer.start_tls(trust, server_hostname="localhost")
        peer.send(b"EHLO a.example\r\n")
        # With TLS 1.3 a client learns only now that its certificate was not good.
        while not (heard := await peer.reply()).startswith("250"):
            if not heard:
                return None
        (session,) = running.server.sessions
    except (ssl.SSLError, ConnectionError):
        return None
    else:
        return session.session.certificate_names
    finally:
        with suppress(ssl.SSLError, ConnectionError):
            await peer.close()
        await until(lambda: not running.server.sessions)


@pytest.mark.requirement("TLS-003")
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
@pytest.mark.parametrize("mode", ["off", "optional", "required"])
async def test_client_certificates(files: Files, tmp_path: Path, mode: str, implicit: bool) -> None:  # noqa: FBT001
    async with with_clients(files, tmp_path, mode) as (running, authority):
        shown = {
            "none": None,
            "good": authority.issue_cert("printer.shop.example", "app@shop.example"),
            "common name": authority.issue_cert(common_name="till 7"),
            "foreign": trustme.CA().issue_cert("printer.shop.example"),
            "expired": authority.issue_cert("printer.shop.example", not_after=YESTERDAY),
            "the server's own authority": files.ca.issue_cert("printer.shop.example"),
        }
        found = {what: await outcome(running, files.trust(), leaf, implicit=implicit) for what, leaf in shown.items()}
        names = ("printer.shop.example", "app@shop.example")
        expected: dict[str, tuple[str, ...] | None] = dict.fromkeys(shown, ())
        if mode != "off":
            expected = dict.fromkeys(shown) | {"good": names, "common name": ("till 7",)}
        if mode == "optional":
            expected["none"] = ()
        assert {what: sorted(got) if got else got for what, got in found.items()} == {
            what: sorted(got) if got else got for what, got in expected.items()
        }


async def test_each_port_has_its_own_mode(files: Files, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "clients.pem")
    required: dict[str, Any] = {
        "relay_client_ca_file": str(tmp_path / "clients.pem"),
        "relay_tls_client_certificates": "required",
    }
    async with relay(files, **required) as running:
        assert await outcome(running, files.trust(), None, implicit=False) == ()
        assert await outcome(running, files.trust(), None, implicit=True) is None
        await until(lambda: running.counted("relay_connections_total", result="tls_failed") == 1)


async def test_another_client_authority_is_taken_up(files: Files, tmp_path: Path) -> None:
    async with with_clients(files, tmp_path, "required") as (running, old):
        house, new = running.house, trustme.CA()
        watch = Watch(CertificateFiles.of(house.settings), house.certificates, house.metrics.certificate_reloads)
        async with watch.running():
            before = house.certificates.current()

            def unchanged() -> bool:
                # The same once more, in one go, which is new to a watch that has looked before.
                old.cert_pem.write_to_path(tmp_path / "next.pem")
                (tmp_path / "next.pem").rename(tmp_path / "clients.pem")
                return reloads(running, "unchanged") > 0

            await until(unchanged)
            assert house.certificates.current() is before
            (tmp_path / "clients.pem").write_bytes(b"garbage")
            await until(lambda: reloads(running, "refused") == 1)
            assert await outcome(running, files.trust(), old.issue_cert("a.example"), implicit=True) == ("a.example",)
            new.cert_pem.write_to_path(tmp_path / "clients.pem")
            await until(lambda: reloads(running, "accepted") == 1)
        assert await outcome(running, files.trust(), old.issue_cert("a.example"), implicit=True) is None
        assert await outcome(running, files.trust(), new.issue_cert("a.example"), implicit=True) == ("a.example",)


# --- certificates as values


def test_material_is_taken_from_wherever_it_comes(files: Files) -> None:
    first, second = material(files.ca, "localhost"), material(files.ca, "localhost", "mx.example")
    certificates = Certificates(first)
    context = weakref.ref(certificates.current())
    assert certificates.offer(FALLBACK, first).changed is False
    assert certificates.current() is context()
    offer = certificates.offer(FALLBACK, second)
    assert offer == Offer(examine(second, dt.datetime.now(dt.UTC)), changed=True)
    assert offer.certificate.names == {"localhost", "mx.example"}
    assert certificates.offer(FALLBACK, first).lost == {"mx.example"}
    with pytest.raises(BadKey):
        certificates.offer(FALLBACK, Material(second.chain, first.key))
    with pytest.raises(BadCertificate):
        certificates.offer("other", Material(b"", b""))
    assert certificates.places == {FALLBACK}
    gc.collect()
    assert context() is None


def test_a_key_is_not_shown_and_leaves_no_file_open(files: Files) -> None:
    what = material(files.ca, "localhost")
    assert "PRIVATE" not in repr(what)
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    Certificates(what, Clients())
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_pair_that_is_bad_at_the_start_does_not_keep_the_others_out(files: Files, tmp_path: Path) -> None:
    write(tmp_path, "good", material(files.ca, "good.example"))
    write(tmp_path, "late", material(files.ca, "late.example", not_after=YESTERDAY))
    (tmp_path / "alone.key").write_text("x")
    certificates = read_certificates(settings(files, relay_certificate_folder=str(tmp_path)))
    assert certificates.places == {FALLBACK, "good"}


def self_made(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> Material:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, YESTERDAY, TOMORROW)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Material(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), private)


def test_a_certificate_must_be_for_servers_and_strong_enough() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    for_clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    with pytest.raises(BadCertificate, match=r"^is not for servers: its extended key usage lacks serverAuth$"):
        Certificates(self_made(curve, for_clients))
    with pytest.raises(BadCertificate, match=r"^cannot be served: ee key too small$"):
        Certificates(self_made(rsa.generate_private_key(65_537, 1024)))  # noqa: S505 - that is the point
    assert Certificates(self_made(curve)).names == frozenset()


def der(oid: x509.ObjectIdentifier) -> bytes:
    """An identifier as it stands in a certificate (X.690, 8.19): none of its numbers here needs two octets."""
    first, second, *others = map(int, oid.dotted_string.split("."))
    return bytes([6, 1 + len(others), 40 * first + second, *others])


def with_two_alternative_names(key: ec.EllipticCurvePrivateKey) -> Material:
    """A certificate that nobody can make with the library, which reads it nevertheless."""
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    other = x509.UnrecognizedExtension(ExtensionOID.ISSUER_ALTERNATIVE_NAME, names.public_bytes())
    made = self_made(key, names, other)
    octets = x509.load_pem_x509_certificate(made.chain).public_bytes(serialization.Encoding.DER)
    changed = octets.replace(der(ExtensionOID.ISSUER_ALTERNATIVE_NAME), der(ExtensionOID.SUBJECT_ALTERNATIVE_NAME))
    assert changed != octets
    chain = x509.load_der_x509_certificate(changed).public_bytes(serialization.Encoding.PEM)
    return Material(chain, made.key)


def test_a_certificate_whose_parts_cannot_be_read_is_no_reason_to_break() -> None:
    curve = ec.generate_private_key(ec.SECP256R1())
    garbage = self_made(curve, x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"garbage"))
    for what in (garbage, with_two_alternative_names(curve)):
        with pytest.raises(BadCertificate, match=r"^has parts that cannot be read$"):
            Certificates(what)


async def test_a_folder_that_is_away_takes_no_certificate_with_it(files: Files, tmp_path: Path) -> None:
    folder, away = tmp_path / "pairs", tmp_path / "away"
    folder.mkdir()
    write(folder, "shop", pair := material(files.ca, "mx.shop.example"))
    with capture_logs() as lines:
        async with watched(files, 0.2, relay_certificate_folder=str(folder)) as running:
            folder.rename(away)
            await until(lambda: reloads(running, "refused") == 1)
            assert await served(running, "mx.shop.example") == serial(pair)
            write(away, "shop", new := material(files.ca, "mx.shop.example"))
            away.rename(folder)
            await until(lambda: reloads(running, "accepted") == 1)
            assert await served(running, "mx.shop.example") == serial(new)
    (told,) = [line for line in lines if line["log_level"] == "error"]
    assert told["reason"] == f"{folder} cannot be read: No such file or directory"
