"""acme2certifier, an ACME server that knows renewal information (RFC 9773), on loopback. It proves no names."""

import datetime as dt
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives import serialization

from local.certificates import authority, elliptic
from tests.waiting import wait_until
from tests.worker.certificates.pebble import Pebble

HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# The server's own front, on one address, without looking up the names of its clients.
LAUNCH = """
import sys
from wsgiref.simple_server import WSGIRequestHandler, make_server
from acme2certifier.share.acme2certifier_wsgi import application
WSGIRequestHandler.address_string = lambda self: self.client_address[0]
make_server("127.0.0.1", int(sys.argv[1]), application).serve_forever()
"""
CONFIG = """
[DEFAULT]
debug: False
[Nonce]
nonce_check_disable: False
[DBhandler]
handler: wsgi
dbfile: {folder}/acme.db
[CAhandler]
handler_module: acme2certifier.cahandlers.openssl_ca_handler
issuing_ca_key: {folder}/ca.key
issuing_ca_cert: {folder}/ca.pem
issuing_ca_crl: {folder}/crl.pem
cert_save_path: {folder}/certs
cert_validity_days: {days}
[Challenge]
challenge_validation_disable: True
[Renewalinfo]
{renewal}
"""


@contextmanager
def ari_server(folder: Path, port: int, days: int, renewal: str) -> Iterator[Pebble]:
    """Run a server; one that runs again in the same folder knows what it knew.

    Args:
        folder: where it keeps things.
        port: where it listens.
        days: how long its certificates last.
        renewal: its configuration for renewal information.
    """
    if not (folder / "ca.pem").exists():
        ca = authority(elliptic(), dt.datetime.now(dt.UTC))
        (folder / "ca.pem").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
        key = ca.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "ca.key").write_bytes(key)
        # Looked at only to revoke.
        (folder / "crl.pem").touch()
        (folder / "certs").mkdir()
    (folder / "acme.cfg").write_text(CONFIG.format(folder=folder, days=days, renewal=renewal))
    environment = {"ACME_SRV_CONFIGFILE": str(folder / "acme.cfg"), "ACME2CERTIFIER_I_KNOW_THE_RISK": "1"}
    url = f"http://127.0.0.1:{port}/directory"
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", LAUNCH, str(port)],
            env=environment,
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: answers(url), 20, f"acme2certifier did not start: {folder / 'log'}")
        yield Pebble(url, folder / "ca.pem", "", 0)
    finally:
        process.kill()
        process.wait()


def answers(url: str) -> bool:
    try:
        with HTTP.open(url, timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False
