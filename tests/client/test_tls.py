import base64
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.client.certificates import DAY, Authority, self_signed
from tests.client.postbox import Postbox, client, inside, postbox, to


@pytest.mark.requirement("SC-3.1")
@pytest.mark.requirement("CLIENT-002")
@pytest.mark.requirement("CLIENT-004")
@pytest.mark.requirement("CLIENT-007")
def test_starttls_with_insecure_sends(starttls: Postbox) -> None:
    done = client("send", *to(starttls.port, "--insecure", "--subject", "Hello", "--text", "It works."))
    assert done.code == 0, done.err
    assert "queued as msg-1" in done.out
    assert starttls.last().encrypted
    assert "Subject: Hello\r\n" in starttls.last().text


@pytest.mark.requirement("SC-3.2")
@pytest.mark.requirement("CLIENT-002")
@pytest.mark.requirement("CLIENT-007")
def test_implicit_tls_with_insecure_sends(implicit: Postbox) -> None:
    done = client("send", *to(implicit.port, "--tls", "implicit", "--insecure", "--json"))
    assert done.code == 0, done.err
    assert implicit.last().encrypted
    assert {"connect", "tls", "ehlo", "send", "total"} == set(done.document["messages"][0]["timings_ms"])


@pytest.mark.requirement("SC-3.3")
@pytest.mark.requirement("CLIENT-006")
@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_an_unknown_authority_is_told_and_ca_helps(authority: Authority, tls: str) -> None:
    context = authority.context("localhost")
    with postbox(starttls=context) if tls == "starttls" else postbox(implicit=context) as box:
        refused = client("send", *to(box.port, "--tls", tls))
        accepted = client("send", *to(box.port, "--tls", tls, "--ca", str(authority.file)))
    assert refused.code == 4
    assert "not trusted: it comes from an unknown authority" in refused.err
    for fact in ("subject", "O=Test Server", "issuer", "O=Test Authority", "valid", "names      localhost", "SHA-256"):
        assert fact in refused.err
    assert "--ca FILE" in refused.err
    assert "--insecure" in refused.err
    assert accepted.code == 0, accepted.err
    assert len(box.received) == 1


@pytest.mark.requirement("CLIENT-006")
def test_a_name_mismatch_is_told_and_server_name_helps(authority: Authority) -> None:
    with postbox(starttls=authority.context("mx.example.com")) as box:
        words = to(box.port, "--ca", str(authority.file))
        refused = inside("send", *words)
        accepted = inside("send", *words, "--server-name", "mx.example.com")
    assert refused.code == 4
    assert "name mismatch" in refused.err
    assert "names      mx.example.com" in refused.err
    assert accepted.code == 0, accepted.err


@pytest.mark.requirement("CLIENT-006")
@pytest.mark.parametrize(("begins", "ends", "remark"), [(-2 * DAY, -DAY, "expired"), (DAY, 2 * DAY, "not yet valid")])
def test_a_certificate_out_of_its_time_is_told(tmp_path: Path, begins: timedelta, ends: timedelta, remark: str) -> None:
    context, certificate = self_signed(tmp_path, begins=begins, ends=ends)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(certificate.public_bytes(Encoding.PEM))
    with postbox(starttls=context) as box:
        done = inside("send", *to(box.port, "--ca", str(trusted)))
    assert done.code == 4
    assert f"not trusted: it {'has ' if remark == 'expired' else 'is '}{remark}." in done.err
    assert f"({remark})" in done.err
    assert hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest().hex(":").upper() in done.err


@pytest.mark.requirement("CLIENT-006")
@pytest.mark.requirement("TLS-015")
def test_a_self_signed_certificate_is_told_trusted_by_file_or_pinned(tmp_path: Path) -> None:
    context, certificate = self_signed(tmp_path, begins=-DAY, ends=DAY)
    file = tmp_path / "development.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM))
    pin = pin_of(certificate)
    with postbox(starttls=context) as box:
        refused = inside("send", *to(box.port))
        by_file = inside("send", *to(box.port, "--ca", str(file)))
        by_pin = inside("send", *to(box.port, "--insecure", "--pin", pin.hex()))
    assert refused.code == 4
    assert "self-signed" in refused.err
    assert f"sha256//{base64.b64encode(pin).decode()}" in refused.err
    assert (by_file.code, by_pin.code) == (0, 0)


@pytest.mark.requirement("TLS-015")
@pytest.mark.parametrize("trust", ["ca", "insecure"])
def test_another_key_than_the_pinned_one_is_refused_before_any_secret(authority: Authority, trust: str) -> None:
    with postbox(starttls=authority.context("localhost")) as box:
        words = ["--ca", str(authority.file)] if trust == "ca" else ["--insecure"]
        pin = base64.b64encode(bytes(32)).decode()
        done = inside("send", *to(box.port, *words, "--pin", pin, "--user", "app", "-v"), "--password", "secret")
    assert done.code == 4
    assert "pin mismatch" in done.err
    assert "O=Test Server" in done.err
    assert "AUTH PLAIN" not in done.err
    assert not box.received


def test_a_server_without_starttls_is_not_spoken_to_in_the_clear(plain: Postbox) -> None:
    done = inside("send", *to(plain.port))
    assert done.code == 4
    assert "does not offer STARTTLS" in done.err
    assert not plain.received


def test_a_server_that_does_not_start_with_tls_is_told(starttls: Postbox) -> None:
    done = inside("send", *to(starttls.port, "--tls", "implicit"))
    assert done.code == 4
    assert "use --tls starttls" in done.err


def test_a_file_without_certificates_is_a_mistake_of_the_command_line(tmp_path: Path) -> None:
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("nothing")
    for file in (missing, empty):
        done = inside("send", *to(1, "--ca", str(file)))
        assert done.code == 2
        assert str(file) in done.err


def pin_of(certificate: x509.Certificate) -> bytes:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(key).digest()
