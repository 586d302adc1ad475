"""A certificate from nothing to use: proved by HTTP-01 through a running relay, which then serves it."""

import json
import re
import socket
import ssl
import urllib.error
from pathlib import Path

import pytest
import trustme
from cryptography import x509

from backing.health import version
from tests.relay.conftest import provision as provision_relay
from tests.relay.conftest import surroundings
from tests.relay.house import Files
from tests.relay.process import HTTP, Process, running
from tests.valkey import Valkey
from tests.waiting import wait_until
from tests.worker.certificates.conftest import MakeDesk
from tests.worker.certificates.pebble import Pebble


def told(process: Process, path: str) -> str:
    with HTTP.open(f"{process.health}/{path}", timeout=2) as answer:
        return str(answer.read().decode())


def days_left(process: Process, certificate: str) -> float:
    """What readiness says of the certificate, which has to be of this kind."""
    said = json.loads(told(process, "readyz"))
    left = float(said.pop("certificate_days_left"))
    assert said == {"status": "ready", "version": version(), "certificate": certificate}
    return left


def metric(process: Process, name: str) -> float:
    (value,) = re.findall(rf"^{name} (\S+)$", told(process, "metrics"), re.MULTILINE)
    return float(value)


def served(process: Process) -> x509.Certificate:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", process.tls), 5) as plain,
        context.wrap_socket(plain, server_hostname="smtp.example.com") as tls,
    ):
        found = tls.getpeercert(binary_form=True)
    assert found
    return x509.load_der_x509_certificate(found)


@pytest.mark.requirement("CORE-API-006")
@pytest.mark.requirement("TLS-018")
@pytest.mark.requirement("SC-5.1")
@pytest.mark.requirement("TLS-017")
def test_a_relay_proves_its_own_name_and_serves_what_is_issued(
    make_desk: MakeDesk, acme: Pebble, own_valkey: Valkey, moto_url: str, tmp_path: Path
) -> None:
    desk = make_desk(acme, "smtp.example.com")
    none = Files(trustme.CA(), tmp_path, tmp_path)
    environment = {
        **surroundings(provision_relay(moto_url), none),
        "RELAY_CERTIFICATE_FILE": "",
        "RELAY_PRIVATE_KEY_FILE": "",
        "RELAY_CERTIFICATE_SECRETS": desk.environment["CERTIFICATE_SECRET"],
        "RELAY_CERTIFICATE_POLL_SECONDS": "1",
        "RELAY_CHALLENGE_PORT": str(acme.http_port),
        "RELAY_HOSTNAME": "smtp.example.com",
        "CACHE_URL": own_valkey.url,
    }
    http = {"ACME_CHALLENGE": "http-01", "DNS_ZONE_ID": "", "CACHE_URL": own_valkey.url}
    with running(environment) as process:
        assert abs(days_left(process, "bootstrap") - 90) < 1
        assert metric(process, "relay_certificate_bootstrap") == 1
        assert served(process).issuer == served(process).subject
        for path, status in (("none", 404), ("no%20token", 404), ("../x", 404)):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                HTTP.open(f"http://127.0.0.1:{acme.http_port}/.well-known/acme-challenge/{path}", timeout=2)
            assert refusal.value.code == status
        said = desk.run("renew", **http)
        assert said.result == ("renewed", "renewed"), said.out
        (issued, *_) = desk.chain()
        wait_until(lambda: served(process) == issued, 5, "the relay does not serve the new certificate")
        assert abs(days_left(process, "issued") - metric(process, "relay_certificate_days_left")) < 0.1
        assert metric(process, "relay_certificate_bootstrap") == 0
        days = (issued.not_valid_after_utc - issued.not_valid_before_utc).days
        assert abs(metric(process, "relay_certificate_days_left") - days) < 1
        own_valkey.kill()
        with pytest.raises(urllib.error.HTTPError) as refusal:
            HTTP.open(f"http://127.0.0.1:{acme.http_port}/.well-known/acme-challenge/token", timeout=2)
        assert refusal.value.code == 503
        said = desk.run("issue", **http)
        assert (said.code, said.result[0]) == (69, "failed")
        assert said.result[1].startswith("cache: ")
        code, _ = process.stop()
    assert code == 0
