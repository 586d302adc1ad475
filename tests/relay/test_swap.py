"""Certificates that change while the relay runs."""

import asyncio
import datetime as dt
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from structlog.testing import capture_logs
from typing_extensions import override

from backing.certificates.material import Material
from relay.certificates.files import CertificateFiles
from relay.certificates.tls import FALLBACK, Certificates, Offer
from relay.certificates.watch import Watch
from tests.relay.house import Files, Running, relay, until
from tests.relay.pairs import TOMORROW, YESTERDAY, eventually, material, own, reloads, serial, served, watched, write

pytestmark = pytest.mark.anyio


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
        "a link to itself": None,
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
    "a link to itself": "server.pem cannot be read: Too many levels of symbolic links",
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
            if what == "a link to itself":
                (tmp_path / "server.pem").symlink_to("server.pem")
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
            (tmp_path / "half.pem").unlink()
            (tmp_path / "shop.pem").unlink()
            (tmp_path / "shop.key").unlink()
            await eventually(lambda: serves(fallback), 2)
            assert running.house.certificates.places == {FALLBACK}
            # What was taken away is forgotten, though it was never served: told once more.
            (tmp_path / "half.pem").write_bytes(b"garbage")
            await until(lambda: reloads(running, "refused") == 2)
    told = [(line["event"], line.get("names")) for line in lines if line["log_level"] in {"warning", "error"}]
    assert told == [
        ("certificate no longer has names", ["www.shop.example"]),
        ("certificate kept out", None),
        ("certificate taken away", ["mx.shop.example"]),
        ("certificate kept out", None),
    ]


@contextmanager
def without_descriptors() -> Iterator[None]:
    """Let this process open nothing any more: no file, and nothing that tells of changes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_where_the_system_does_not_tell_of_changes_files_are_looked_at_now_and_then(
    files: Files, tmp_path: Path
) -> None:
    files, old = own(files, tmp_path)
    with capture_logs() as lines:
        async with relay(files) as running:
            where, house = CertificateFiles.of(running.house.settings), running.house
            watch = Watch(where, house.certificates, house.metrics.certificate_reloads, 0.2)
            with without_descriptors():
                async with watch.running():
                    await until(lambda: reloads(running, "refused") == 1)
                    await asyncio.sleep(0.5)
            assert await is_served(running, old)
            async with watch.running():
                write(tmp_path, "server", new := material(files.ca, "localhost"))
                await eventually(lambda: is_served(running, new), 2)
    told = [(line["event"], line["reason"]) for line in lines if line["log_level"] in {"warning", "error"}]
    assert [event for event, _ in told].count("certificates are only looked at now and then") == 1
    assert ("certificate kept out", f"{tmp_path / 'server.pem'} cannot be read: Too many open files") in told


class Faulty(Certificates):
    """Certificates that break where nobody thought of it."""

    broken = False

    @override
    def offer(self, *what: Any, **more: Any) -> Offer:
        if self.broken:
            raise RuntimeError("a bug")
        return super().offer(*what, **more)


async def test_a_fault_that_nobody_thought_of_ends_neither_the_relay_nor_the_watch(
    files: Files, tmp_path: Path
) -> None:
    files, old = own(files, tmp_path)
    certificates = Faulty(old)
    with capture_logs() as lines:
        async with relay(files, served=certificates) as running:
            where, house = CertificateFiles.of(running.house.settings), running.house
            async with Watch(where, certificates, house.metrics.certificate_reloads, 0.2).running():
                certificates.broken = True
                write(tmp_path, "server", new := material(files.ca, "localhost"))
                await until(lambda: any(line["event"] == "certificates not looked at" for line in lines))
                assert await is_served(running, old)
                certificates.broken = False
                await eventually(lambda: is_served(running, new), 2)
            assert (reloads(running, "accepted"), reloads(running, "refused")) == (1, 0)
    assert {line["log_level"] for line in lines if line["event"] == "certificates not looked at"} == {"error"}
