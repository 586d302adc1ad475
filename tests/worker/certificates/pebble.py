"""Pebble, a real ACME server for tests, on loopback."""

import json
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from tests.conftest import IN_CI, ROOT, free_port
from tests.waiting import wait_until

PLACE = ROOT / ".local" / "pebble" / "usr" / "bin" / "pebble"
KID, HMAC_KEY = "kid-1", "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
# Pebble's own way of being difficult is switched on where a test wants it.
EASY = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}


def binary() -> str:
    found = shutil.which("pebble") or (str(PLACE) if PLACE.exists() else None)
    if found is None:
        why = "there is no ACME server: `make setup` fetches Debian's package pebble"
        assert not IN_CI, why
        pytest.skip(why)
    return found


@dataclass(frozen=True)
class Pebble:
    """A server that runs.

    Attributes:
        directory: its URL.
        trust: PEM file of who issued its own certificate.
        management: URL of what is not ACME.
        http_port: where it looks for HTTP-01 answers.
    """

    directory: str
    trust: Path
    management: str
    http_port: int

    def fetch(self, place: str) -> bytes:
        context = ssl.create_default_context(cafile=self.trust)
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        with opener.open(f"{self.management}/{place}", timeout=5) as answer:
            return bytes(answer.read())

    def state(self, certificate: x509.Certificate) -> str:
        """Whether a certificate is Valid or Revoked."""
        return str(json.loads(self.fetch(f"cert-status-by-serial/{certificate.serial_number:x}"))["Status"])


@contextmanager
def pebble(folder: Path, dns: str, changes: Mapping[str, str] | None = None, *, eab: bool = False) -> Iterator[Pebble]:
    """Run a server that asks this DNS server."""
    program, ports = binary(), [free_port() for _ in range(4)]
    ca = trustme.CA()
    pair = ca.issue_cert("127.0.0.1")
    ca.cert_pem.write_to_path(folder / "trust.pem")
    pair.private_key_pem.write_to_path(folder / "key.pem")
    pair.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    config = {
        "listenAddress": f"127.0.0.1:{ports[0]}",
        "managementListenAddress": f"127.0.0.1:{ports[1]}",
        "certificate": str(folder / "cert.pem"),
        "privateKey": str(folder / "key.pem"),
        "httpPort": ports[2],
        "tlsPort": ports[3],
        "ocspResponderURL": "",
        "externalAccountBindingRequired": eab,
        "externalAccountMACKeys": {KID: HMAC_KEY},
    }
    (folder / "config.json").write_text(json.dumps({"pebble": config}))
    running = Pebble(
        f"https://127.0.0.1:{ports[0]}/dir", folder / "trust.pem", f"https://127.0.0.1:{ports[1]}", ports[2]
    )
    command = [program, "-config", str(folder / "config.json"), "-dnsserver", dns, "-strict"]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, env={**EASY, **(changes or {})}, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: answers(running), 10, f"pebble did not start: {folder / 'log'}")
        yield running
    finally:
        process.kill()
        process.wait()


def answers(running: Pebble) -> bool:
    try:
        running.fetch("roots/0")
    except (urllib.error.URLError, OSError):
        return False
    return True
