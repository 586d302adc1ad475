"""When a certificate is due, and what is remembered between runs: rules without any part."""

import datetime as dt
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backing.certificates.material import Certificate, Material
from worker.certificates.due import Verdict, Window, decide, within
from worker.certificates.memory import Memory, remembered, written
from worker.certificates.settings import PRODUCTION, CertificateSettings
from worker.certificates.wire import certificate_id, seconds_to_wait

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
DAY, NAMES = dt.timedelta(days=1), ("smtp.example.com",)
CA = trustme.CA()
NO_NAMES = (
    "localhost",
    "-a.example",
    "a-.example",
    "\u00fc.example",
    "a..b",
    "*.*.example.com",
    "x" * 64 + ".example",
    "a." * 130 + "example",
    "x_y.example",
    "*",
)
TWICE_A_DAY = dt.timedelta(hours=12)


def certificate(begins: dt.datetime, ends: dt.datetime, *names: str) -> Certificate:
    pair = CA.issue_cert(*(names or NAMES), not_before=begins, not_after=ends)
    leaf = x509.load_pem_x509_certificate(pair.cert_chain_pems[0].bytes())
    return Certificate(Material(b"", b""), frozenset(names or NAMES), begins, ends, leaf)


@pytest.mark.requirement("TLS-010")
@pytest.mark.parametrize(("lifetime", "left"), [(90, 30), (64, 64 / 3), (45, 15), (10, 10 / 3), (9, 4.5), (6, 3)])
def test_how_much_of_a_lifetime_is_left(lifetime: float, left: float) -> None:
    ends = NOW + left * DAY
    due = decide(certificate(ends - lifetime * DAY, ends), NAMES, None, NOW, dt.timedelta())
    assert due.order
    assert abs(due.at - NOW) < dt.timedelta(seconds=1)
    early = NOW - dt.timedelta(minutes=1)
    assert not decide(certificate(ends - lifetime * DAY, ends), NAMES, None, early, dt.timedelta()).order


def test_what_is_due_before_the_next_run_is_due_now() -> None:
    ends = NOW + 30 * DAY
    kept = certificate(ends - 90 * DAY, ends)
    assert decide(kept, NAMES, None, NOW - TWICE_A_DAY, TWICE_A_DAY).order
    assert not decide(kept, NAMES, None, NOW - TWICE_A_DAY - dt.timedelta(seconds=5), TWICE_A_DAY).order


@pytest.mark.requirement("TLS-010")
def test_the_servers_wish_counts_where_it_is_the_earlier_one() -> None:
    kept = certificate(NOW - 10 * DAY, NOW + 80 * DAY)
    by_lifetime = kept.expires_at - 30 * DAY
    soon, late = Window(NOW + DAY, NOW + 2 * DAY), Window(NOW + 70 * DAY, NOW + 75 * DAY)
    wished = within(soon, kept)
    assert soon.start <= wished <= soon.end
    assert decide(kept, NAMES, soon, NOW, TWICE_A_DAY) == Verdict(
        order=False, at=wished, why="as the ACME server wishes"
    )
    assert decide(kept, NAMES, late, NOW, TWICE_A_DAY).at == by_lifetime
    past = Window(NOW - 2 * DAY, NOW - DAY)
    assert decide(kept, NAMES, past, NOW, TWICE_A_DAY).order


def test_the_time_in_a_window_is_everywhere_in_it_but_the_same_for_a_certificate() -> None:
    window = Window(NOW, NOW + DAY)
    many = [certificate(NOW - DAY, NOW + DAY) for _ in range(40)]
    chosen = [within(window, one) for one in many]
    assert [within(window, one) for one in many] == chosen
    assert min(chosen) < NOW + DAY / 3 < NOW + DAY * 2 / 3 < max(chosen)


def test_a_wildcard_does_not_stand_for_a_name_that_was_asked_for() -> None:
    kept = certificate(NOW, NOW + 90 * DAY, "*.example.com")
    assert decide(kept, ("*.example.com",), None, NOW, TWICE_A_DAY).order is False
    assert decide(kept, NAMES, None, NOW, TWICE_A_DAY).why == "the certificate lacks names: smtp.example.com"


@given(st.builds(Memory, st.integers(0, 99), st.text(), st.floats(0, 4e9), st.lists(st.floats(0, 4e9)).map(tuple)))
def test_what_is_remembered_is_what_was_written(memory: Memory) -> None:
    assert remembered(written(memory)) == memory


@pytest.mark.parametrize("text", ["", "{}", "no JSON", "[]", '{"failures": "many"}', '{"issued": 5}', "null"])
def test_what_cannot_be_read_is_nothing(text: str) -> None:
    assert remembered(text) == Memory()


def test_a_limit_is_never_shortened_by_another() -> None:
    memory = Memory().failed("first", NOW + 2 * DAY).failed("second", NOW + DAY).failed("third")
    assert memory == Memory(3, "third", (NOW + 2 * DAY).timestamp())
    assert memory.hold(NOW, force=True) == (NOW + 2 * DAY, "the ACME server is to be left alone: third")
    assert memory.succeeded() == Memory()


def test_our_own_limit_is_four_in_seven_days() -> None:
    memory = Memory()
    for day in (0, 1, 2):
        memory = memory.got_one(NOW + day * DAY)
    assert memory.hold(NOW + 2 * DAY) is None
    memory = memory.got_one(NOW + 3 * DAY)
    held = memory.hold(NOW + 3 * DAY)
    assert held == (NOW + 7 * DAY, "4 certificates were issued in the last 7 days")
    assert memory.hold(NOW + 3 * DAY, force=True) is None
    assert memory.hold(NOW + 7 * DAY) is None
    assert len(memory.got_one(NOW + 9 * DAY).issued) == 2


def test_the_example_of_rfc_9773() -> None:
    """Section 4.1 names a key and a serial number whose first octet is 0x87."""
    key = bytes.fromhex("69885B6B87464041E1B37B847BA0AE2CDE01C8D4")
    pair = CA.issue_cert("a.example")
    leaf = x509.load_pem_x509_certificate(pair.cert_chain_pems[0].bytes())
    builder = x509.CertificateBuilder(
        leaf.issuer, leaf.subject, leaf.public_key(), 0x87654321, leaf.not_valid_before_utc, leaf.not_valid_after_utc
    )
    private = ec.generate_private_key(ec.SECP256R1())
    named = builder.add_extension(x509.AuthorityKeyIdentifier(key, None, None), critical=False)
    assert certificate_id(named.sign(private, hashes.SHA256())) == "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"
    unnamed = builder.add_extension(x509.AuthorityKeyIdentifier(None, [x509.DNSName("a.example")], 5), critical=False)
    assert certificate_id(unnamed.sign(private, hashes.SHA256())) is None
    assert certificate_id(builder.sign(private, hashes.SHA256())) is None


@pytest.mark.parametrize(
    ("header", "words", "seconds"),
    [
        ("120", "", 120),
        ("0", "", 0),
        ("", "", None),
        ("soon", "", None),
        ("-5", "", None),
        ("", "too many certificates: retry after 2999-01-01 00:00:00 UTC: see https://", 30_700_000_000),
        ("", "retry after 2020-01-01T00:00:00Z", 0),
        ("Fri, 01 Jan 2999 00:00:00 GMT", "", 30_700_000_000),
        ("Wed, 01 Jan 2020 00:00:00 GMT", "", 0),
    ],
)
def test_how_long_a_server_wants_to_be_left_alone(header: str, words: str, seconds: float | None) -> None:
    found = seconds_to_wait(header, words)
    assert found == seconds if seconds is None or seconds < 1000 else abs((found or 0) / seconds - 1) < 0.01


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_host_name(name: str) -> None:
    with pytest.raises(ValidationError, match="is not a host name"):
        CertificateSettings(certificate_names=(name,), certificate_folder="/x", dns_zone_id="Z")


def test_names_are_kept_once_and_in_lower_case() -> None:
    written: Any = "SMTP.Example.com. *.example.com,smtp.example.com"
    settings = CertificateSettings(certificate_names=written, certificate_folder="/x", dns_zone_id="Z")
    assert settings.certificate_names == ("smtp.example.com", "*.example.com")
    assert CertificateSettings.model_fields["acme_directory_url"].default == PRODUCTION
