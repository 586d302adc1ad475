"""Which URLs may be posted to, how posts are signed, and what follows an answer."""

import base64
import re
from datetime import UTC, datetime
from ipaddress import ip_network

import pytest

from mail.endpoints import (
    MAX_RETRY_AFTER,
    WAITS,
    Verdict,
    check_host,
    check_url,
    may_connect,
    next_wait,
    read_retry_after,
    secret_text,
    signature,
    verdict,
)

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1", "::ffff:8.8.8.8"]
)
def test_the_public_internet_may_be_posted_to(address: str) -> None:
    assert may_connect(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",  # noqa: S104 - not listened on
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "169.254.170.2",
        "192.0.0.192",
        "198.18.0.1",
        "203.0.113.7",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:a9fe:a9fe",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2001:0:53aa:64c::1",
        "::127.0.0.1",
        "2130706433",
        "host.example",
        "",
    ],
)
def test_what_is_not_public_may_not(address: str) -> None:
    assert not may_connect(address, ())


def test_a_network_can_be_allowed_besides() -> None:
    allowed = (ip_network("127.0.0.0/8"), ip_network("fd00::/8"))
    addresses = ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1", "10.0.0.1", "::1"]
    assert [may_connect(address, allowed) for address in addresses] == [True, True, True, False, False]
    assert may_connect("8.8.8.8", allowed)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example/a?b=c",
        "https://hooks.example:8443",
        "https://xn--bcher-kva.example/",
        "https://8.8.8.8/x",
        "https://[2606:4700::1]:444/x",
        "https://hooks.example./",
    ],
)
def test_a_good_url_is_kept_as_it_is(url: str) -> None:
    assert check_url(url) == url


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://hooks.example/", "https://"),
        ("ftp://hooks.example/", "https://"),
        ("hooks.example", "https://"),
        ("https://user:pw@hooks.example/", "user name"),
        ("https://hooks.example/#top", "fragment"),
        ("https:///path", "no host name"),
        ("https://hooks.example:0/", "port 0"),
        ("https://hooks.example:99999/", "[Pp]ort"),
        ("https://bücher.example/", "xn--"),
        ("https://a b.example/", "blanks"),
        ("https://a\\@b.example/", "blanks"),
        ("https://a.example/\r\nx: y", "printable"),
        ("https://" + "a" * 2000 + ".example/", "2000"),
        ("https://127.0.0.1/", "public internet"),
        ("https://[::1]/", "public internet"),
        ("https://[::ffff:10.0.0.1]/", "public internet"),
        ("https://2130706433/", "no host name"),
        ("https://0x7f.1/", "no host name"),
        ("https://127.1/", "no host name"),
        ("https://0177.0.0.1/", "no host name"),
        ("https://a..example/", "no host name"),
        ("https://%31.example/", "no host name"),
    ],
)
def test_a_bad_url_is_refused_with_its_reason(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        check_url(url)


def test_an_allowed_network_may_be_written_into_a_url() -> None:
    assert check_url("https://127.0.0.1/", (ip_network("127.0.0.0/8"),)) == "https://127.0.0.1/"


def test_a_signature_is_the_one_that_receivers_compute() -> None:
    # The example of the Standard Webhooks specification.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signed = signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    both = signature([secret, secret_text(b"x" * 32)], "a", 1, b"")
    assert [part[:3] for part in both.split(" ")] == ["v1,", "v1,"]


def test_a_secret_is_written_as_libraries_take_it_and_never_repeated_in_an_error() -> None:
    assert base64.b64decode(secret_text(b"k" * 32).removeprefix("whsec_")) == b"k" * 32
    with pytest.raises(ValueError, match="not base64") as caught:
        signature(["whsec_!!hidden!!"], "a", 1, b"")
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "meant"),
    [(200, Verdict.DELIVERED), (204, Verdict.DELIVERED), (299, Verdict.DELIVERED), (410, Verdict.GONE)]
    + [(status, Verdict.AGAIN) for status in (101, 301, 302, 307, 400, 401, 404, 429, 500, 503)],
)
def test_an_answer_is_judged_by_its_status(status: int, meant: Verdict) -> None:
    assert verdict(status) is meant


def test_waits_grow_to_a_day_and_end() -> None:
    assert [next_wait(attempt, None, 0) for attempt in range(1, len(WAITS) + 2)] == [*WAITS, None]
    assert (next_wait(1, None, -1), next_wait(1, None, 1)) == (4, 6)


def test_retry_after_lengthens_a_wait_within_bounds_and_shortens_none() -> None:
    assert [next_wait(1, asked, 0) for asked in (0.0, 3.0, 60.0, 1e9)] == [5, 5, 60, MAX_RETRY_AFTER]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 0 ", 0),
        ("9" * 400, MAX_RETRY_AFTER),
        ("Thu, 26 Nov 2026 12:01:00 GMT", 60),
        ("Thu, 26 Nov 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("", None),
        ("٣", None),
        ("Thu, 99 Nov 99999999999 12:00:00 GMT", None),
    ],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert read_retry_after(text, NOW) == seconds


@pytest.mark.parametrize(
    "host", ["mail.example.net", "MX", "8.8.8.8", "2606:4700::1111", "localhost.example.", "x_y.example"]
)
def test_a_host_on_the_public_internet(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("169.254.169.254", "169.254.169.254 is not an address on the public internet"),
        ("10.1.2.3", "10.1.2.3 is not an address on the public internet"),
        ("::1", "::1 is not an address on the public internet"),
        ("::ffff:10.0.0.1", "::ffff:10.0.0.1 is not an address on the public internet"),
        ("fd00:ec2::254", "fd00:ec2::254 is not an address on the public internet"),
        ("LocalHost.", "LocalHost. is not on the public internet"),
        ("a.localhost", "a.localhost is not on the public internet"),
        ("2130706433", "'2130706433' is no host name, and no address as addresses are written"),
        ("127.1", "'127.1' is no host name, and no address as addresses are written"),
        ("0x7f.1", "'0x7f.1' is no host name, and no address as addresses are written"),
    ],
)
def test_a_host_within(host: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(why)}$"):
        check_host(host)


def test_a_host_within_may_be_allowed() -> None:
    check_host("10.1.2.3", (ip_network("10.0.0.0/8"),))
    check_host("localhost", (ip_network("127.0.0.0/8"),))
    check_host("localhost", (ip_network("::1"),))
    with pytest.raises(ValueError, match="not on the public internet"):
        check_host("localhost", (ip_network("10.0.0.0/8"),))
