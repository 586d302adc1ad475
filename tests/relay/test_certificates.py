"""Which certificate is served to whom, whose clients are let in, and how files are taken up while mail goes on."""

import asyncio
import datetime as dt
import gc
import ssl
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from structlog.testing import capture_logs

from relay.certificates.files import CertificateFiles, read_certificates
from relay.certificates.material import BadCertificate, BadKey, Material, examine
from relay.certificates.tls import FALLBACK, Certificates, Clients, Offer
from relay.certificates.watch import Watch
from tests.relay.house import Files, Peer, Running, relay, settings, until

pytestmark = pytest.mark.anyio

YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


def material(ca: trustme.CA, *names: str, **dates: Any) -> Material:
    pair = ca.issue_cert(*names, **dates)
    return Material(b"".join(blob.bytes() for blob in pair.cert_chain_pems), pair.private_key_pem.bytes())


def write(folder: Path, name: str, what: Material) -> None:
    """Put a pair in a folder as ACME clients do: whole files, renamed into place."""
    for ending, content in (("pem", what.chain), ("key", what.key)):
        (folder / f".{name}").write_bytes(content)
        (folder / f".{name}").rename(folder / f"{name}.{ending}")


def serial(what: Material) -> int:
    return x509.load_pem_x509_certificate(what.chain).serial_number


async def served(running: Running, name: str | None = "localhost", *, implicit: bool = True) -> int:
    """Serial number of the certificate that a client is served who asks for a name."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit))
    peer = Peer(reader, writer, trust)
    running.peers.append(peer)
    if not implicit:
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        await peer.ask("STARTTLS", "220")
    await writer.start_tls(trust, server_hostname=name or "")
    octets = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await peer.close()
    return x509.load_der_x509_certificate(octets).serial_number


@asynccontextmanager
async def watched(files: Files, poll_seconds: float = 60, **changes: Any) -> AsyncIterator[Running]:
    async with relay(files, **changes) as running:
        where, house = CertificateFiles.of(running.house.settings), running.house
        watch = Watch(where, house.certificates, house.metrics.certificate_reloads, poll_seconds)
        async with watch.running():
            yield running


def own(files: Files, folder: Path) -> tuple[Files, Material]:
    """The relay's files in a folder that a test may write to."""
    what = Material(files.certificate.read_bytes(), files.key.read_bytes())
    write(folder, "server", what)
    return replace(files, certificate=folder / "server.pem", key=folder / "server.key"), what


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in the files and at the relay
            await asyncio.sleep(0.02)


def reloads(running: Running, result: str) -> float:
    return running.counted("relay_certificate_reloads_total", result=result)


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
            (tmp_path / "clients.pem").write_bytes(b"garbage")
            await until(lambda: reloads(running, "refused") == 1)
            assert await outcome(running, files.trust(), old.issue_cert("a.example"), implicit=True) == ("a.example",)
            new.cert_pem.write_to_path(tmp_path / "clients.pem")
            await until(lambda: reloads(running, "accepted") == 1)
        assert await outcome(running, files.trust(), old.issue_cert("a.example"), implicit=True) is None
        assert await outcome(running, files.trust(), new.issue_cert("a.example"), implicit=True) == ("a.example",)


# --- taking up files


@pytest.mark.requirement("TLS-005")
@pytest.mark.requirement("TLS-013")
@pytest.mark.requirement("EC-1")
async def test_a_swap_disturbs_none_of_200_sessions(files: Files, tmp_path: Path) -> None:
    files, old = own(files, tmp_path)
    new = material(files.ca, "localhost")
    async with watched(files) as running, AsyncExitStack() as stack:
        peers = [await running.signed_in() for _ in range(200)]
        for peer in peers[:100]:
            await peer.envelope()
            peer.send(b"half a ")
        write(tmp_path, "server", new)
        await eventually(lambda: is_served(running, new), 1)
        assert [await served(running, implicit=port) for port in (True, False) * 5] == [serial(new)] * 10
        for peer in peers[:100]:
            peer.send(b"message\r\n.\r\n")
            await peer.expect("250 2.0.0 queued as")
        for peer in peers:
            await peer.ask("NOOP", "250")
            shown = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            assert x509.load_der_x509_certificate(shown).serial_number == serial(old)
            stack.push_async_callback(peer.close)
        assert (len(running.queue.sent), reloads(running, "accepted"), reloads(running, "refused")) == (100, 1, 0)


async def in_place(folder: Path, new: Material) -> None:
    (folder / "server.pem").write_bytes(new.chain)
    await asyncio.sleep(0.3)
    (folder / "server.key").write_bytes(new.key)


async def key_first(folder: Path, new: Material) -> None:
    (folder / "server.key").write_bytes(new.key)
    await asyncio.sleep(0.3)
    (folder / "server.pem").write_bytes(new.chain)


async def bit_by_bit(folder: Path, new: Material) -> None:
    for name, content in (("server.key", new.key), ("server.pem", new.chain)):
        with (folder / name).open("wb", buffering=0) as file:
            for start in range(0, len(content), 200):
                file.write(content[start : start + 200])
                await asyncio.sleep(0.01)


async def gone_and_back(folder: Path, new: Material) -> None:
    (folder / "server.pem").unlink()
    (folder / "server.key").unlink()
    await asyncio.sleep(0.2)
    write(folder, "server", new)


@pytest.mark.parametrize("change", [in_place, key_first, bit_by_bit, gone_and_back])
async def test_half_of_a_change_is_no_fault(
    files: Files, tmp_path: Path, change: Callable[[Path, Material], Awaitable[None]]
) -> None:
    files, _ = own(files, tmp_path)
    async with watched(files) as running:
        await change(tmp_path, new := material(files.ca, "localhost"))
        await eventually(lambda: is_served(running, new), 1)
        assert (reloads(running, "accepted"), reloads(running, "refused")) == (1, 0)


async def is_served(running: Running, what: Material) -> bool:
    return await served(running) == serial(what)


async def test_links_are_followed(files: Files, tmp_path: Path) -> None:
    """Kubernetes swaps a link in the folder, ACME clients the files' own links, people the folder's."""
    versions = [tmp_path / name for name in ("one", "two", "three")]
    pairs = [material(files.ca, "localhost") for _ in versions]
    for folder, pair in zip(versions, pairs, strict=True):
        folder.mkdir()
        write(folder, "tls", pair)
    mounted, above = tmp_path / "mounted", tmp_path / "above"
    mounted.mkdir()
    (mounted / "..data").symlink_to(versions[0])
    (mounted / "tls.crt").symlink_to("..data/tls.pem")
    (mounted / "tls.key").symlink_to("..data/tls.key")
    above.symlink_to(mounted)
    files = replace(files, certificate=above / "tls.crt", key=above / "tls.key")
    async with watched(files) as running:
        assert await is_served(running, pairs[0])
        (mounted / "..next").symlink_to(versions[1])
        (mounted / "..next").rename(mounted / "..data")
        await eventually(lambda: is_served(running, pairs[1]), 1)
        other = tmp_path / "other"
        other.mkdir()
        (other / "tls.crt").symlink_to("../three/tls.pem")
        (other / "tls.key").symlink_to("../three/tls.key")
        (tmp_path / "next").symlink_to(other)
        (tmp_path / "next").rename(above)
        await eventually(lambda: is_served(running, pairs[2]), 1)
        write(versions[2], "tls", last := material(files.ca, "localhost"))
        await eventually(lambda: is_served(running, last), 1)


def bad(files: Files, what: str) -> Material | None:
    good, other = material(files.ca, "localhost"), material(files.ca, "localhost")
    leaf = good.chain.split(b"-----END CERTIFICATE-----\n")[0] + b"-----END CERTIFICATE-----\n"
    return {
        "garbage": Material(b"garbage", good.key),
        "empty": Material(b"", b""),
        "cut off": Material(good.chain[:300], good.key),
        "no key": Material(good.chain, b"garbage"),
        "another's key": Material(good.chain, other.key),
        "expired": material(files.ca, "localhost", not_after=YESTERDAY),
        "not yet valid": material(files.ca, "localhost", not_before=TOMORROW, not_after=TOMORROW + dt.timedelta(1)),
        "a chain out of order": Material(leaf + other.chain, good.key),
        "far too large": Material(b"#" * 2_000_000, good.key),
        "missing": None,
        "unreadable": None,
    }[what]


REASONS = {
    "garbage": "is not a PEM certificate",
    "empty": "is not a PEM certificate",
    "cut off": "is not a PEM certificate",
    "no key": "holds no usable key for the certificate: it is not a PEM private key",
    "another's key": "is not the key of the certificate",
    "expired": "expired on ",
    "not yet valid": "is not valid before ",
    "a chain out of order": "has its chain out of order: 2 is not the issuer of 1",
    "far too large": "server.pem is too large",
    "missing": "server.pem cannot be read: No such file or directory",
    "unreadable": "server.pem cannot be read: Is a directory",
}


@pytest.mark.parametrize("what", REASONS)
async def test_what_cannot_be_served_is_kept_out_and_told_once(files: Files, tmp_path: Path, what: str) -> None:
    files, old = own(files, tmp_path)
    with capture_logs() as lines:
        async with watched(files, 0.2) as running:
            if replacement := bad(files, what):
                write(tmp_path, "server", replacement)
            else:
                (tmp_path / "server.pem").unlink()
            if what == "unreadable":
                (tmp_path / "server.pem").mkdir()
            await until(lambda: reloads(running, "refused") == 1)
            await asyncio.sleep(0.5)
            assert (reloads(running, "refused"), await is_served(running, old)) == (1, True)
            if what == "unreadable":
                (tmp_path / "server.pem").rmdir()
            write(tmp_path, "server", good := material(files.ca, "localhost"))
            await eventually(lambda: is_served(running, good), 1)
            assert (reloads(running, "refused"), reloads(running, "accepted")) == (1, 1)
    (told,) = [line for line in lines if line["log_level"] == "error"]
    assert told["event"] == "certificate kept out"
    assert told["file"] == str(tmp_path / "server.pem")
    assert REASONS[what] in told["reason"]


async def test_the_same_content_is_noticed_and_left(files: Files, tmp_path: Path) -> None:
    files, _ = own(files, tmp_path)
    async with watched(files) as running:
        context = running.house.certificates.current()
        write(tmp_path, "server", replacement := material(files.ca, "localhost"))
        await until(lambda: reloads(running, "accepted") == 1)
        assert running.house.certificates.current() is not context
        context = running.house.certificates.current()
        write(tmp_path, "server", replacement)
        await until(lambda: reloads(running, "unchanged") == 1)
        assert running.house.certificates.current() is context
        assert (reloads(running, "accepted"), reloads(running, "refused")) == (1, 0)


async def test_pairs_come_and_go_in_the_folder(files: Files, tmp_path: Path) -> None:
    fallback = Material(files.certificate.read_bytes(), files.key.read_bytes())
    with capture_logs() as lines:
        async with watched(files, relay_certificate_folder=str(tmp_path)) as running:

            async def serves(what: Material) -> bool:
                return await served(running, "mx.shop.example") == serial(what)

            assert await serves(fallback)
            write(tmp_path, "shop", first := material(files.ca, "mx.shop.example", "www.shop.example"))
            await eventually(lambda: serves(first), 1)
            (tmp_path / "half.pem").write_bytes(b"garbage")
            write(tmp_path, "shop", second := material(files.ca, "mx.shop.example"))
            await eventually(lambda: serves(second), 1)
            await until(lambda: reloads(running, "refused") == 1)
            (tmp_path / "shop.pem").unlink()
            (tmp_path / "shop.key").unlink()
            await eventually(lambda: serves(fallback), 2)
            assert running.house.certificates.places == {FALLBACK}
    told = [(line["event"], line.get("names")) for line in lines if line["log_level"] in {"warning", "error"}]
    assert told == [
        ("certificate no longer has names", ["www.shop.example"]),
        ("certificate kept out", None),
        ("certificate taken away", ["mx.shop.example"]),
    ]


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
