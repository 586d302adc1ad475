"""DKIM signatures, checked by another implementation."""

import re
from base64 import b64decode, b64encode

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import example, given
from hypothesis import strategies as st

from mail.dkim import REWRITTEN_BY_SES, BadKey, DkimKey, sign
from mail.splice import with_fields_before

Private = rsa.RSAPrivateKey | Ed25519PrivateKey | ec.EllipticCurvePrivateKey
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()


def pem(key: Private) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


RSA_KEY = DkimKey("shop.example", "rsa", pem(RSA))
ED25519_KEY = DkimKey("shop.example", "ed", pem(ED25519))
RECORDS = {
    b"rsa._domainkey.shop.example.": b"v=DKIM1; k=rsa; p="
    + b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    b"ed._domainkey.shop.example.": b"v=DKIM1; k=ed25519; p="
    + b64encode(ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)),
}
KEYS = pytest.mark.parametrize("key", [RSA_KEY, ED25519_KEY], ids=["rsa", "ed25519"])
NOW = 1_700_000_000


def verifies(message: bytes) -> bool:
    try:
        return bool(dkim.DKIM(message).verify(dnsfunc=lambda name, **_: RECORDS[name]))
    except dkim.ValidationError:
        return False


def signed(message: bytes, key: DkimKey = ED25519_KEY, **options: frozenset[str]) -> bytes:
    return with_fields_before(message, sign(message, key, NOW, **options))


MESSAGE = (
    b"Received: from a by b; now\r\n"
    b"From: Shop <a@shop.example>\r\n"
    b"To: b@other.example,\r\n\tc@other.example\r\n"
    b"Subject:  =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n  and   more\r\n"
    b"Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n"
    b"Message-ID: <1@shop.example>\r\n"
    b"List-Unsubscribe: <https://u.example/u/1>\r\n"
    b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n"
    b"X-Other: not signed\r\n"
    b"\r\n"
    b"Hello \t you \r\n\r\n  there\r\n\r\n\r\n"
)


@KEYS
def test_a_signature_verifies(key: DkimKey) -> None:
    assert verifies(signed(MESSAGE, key))


def test_the_field_names_all_that_is_signed_and_from_once_more() -> None:
    field = sign(MESSAGE, ED25519_KEY, NOW)
    name, _, value = field.partition(b": ")
    tags = dict(tag.split(b"=", 1) for tag in re.sub(rb"[ \t\r\n]+", b"", value).split(b";"))
    assert (len(b64decode(tags.pop(b"bh"))), len(b64decode(tags.pop(b"b")))) == (32, 64)
    assert (name, tags) == (
        b"DKIM-Signature",
        {
            b"v": b"1",
            b"a": b"ed25519-sha256",
            b"c": b"relaxed/relaxed",
            b"d": b"shop.example",
            b"s": b"ed",
            b"t": b"1700000000",
            b"h": b"from:from:to:subject:date:message-id:list-unsubscribe:list-unsubscribe-post",
        },
    )
    assert field.endswith(b"\r\n")
    assert max(map(len, sign(MESSAGE, RSA_KEY, NOW).split(b"\r\n"))) <= 78


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Subject:", b"Subject: x"),
        (b"From: Shop", b"From: Other <x@shop.example>\r\nFrom: Shop"),
        (b"u.example", b"evil.example"),
        (b"One-Click", b"Two-Click"),
        (b"there", b"where"),
        (b"Message-ID: <1", b"Message-ID: <2"),
    ],
)
def test_what_is_signed_cannot_be_changed(old: bytes, new: bytes) -> None:
    assert not verifies(signed(MESSAGE).replace(old, new, 1))


def test_what_is_not_signed_can_be_changed() -> None:
    changed = signed(MESSAGE, leave_out=REWRITTEN_BY_SES)
    for old, new in (
        (b"<1@", b"<2@"),
        (b"Date: Tue", b"Date: Mon"),
        (b"X-Other: not", b"X-Other: never"),
        (b"you \r", b"you\r"),
    ):
        assert old in changed
        changed = changed.replace(old, new, 1)
    assert verifies(changed)


def test_from_is_signed_whatever_is_left_out() -> None:
    assert verifies(signed(MESSAGE, leave_out=frozenset({"from", "to"})))
    assert not verifies(signed(MESSAGE, leave_out=frozenset({"from", "to"})).replace(b"From: Shop", b"From: Other", 1))


@KEYS
@pytest.mark.parametrize("lines", [0, 1, 2000, 40_000])
def test_bodies_of_any_length_verify(key: DkimKey, lines: int) -> None:
    assert verifies(signed(b"From: a@b\r\n\r\n" + b"a  b\t \r\n\r\n" * lines, key))


def test_a_line_longer_than_a_chunk_and_blank_lines_over_chunks_verify() -> None:
    assert verifies(signed(b"From: a@b\r\n\r\n" + b"x y  " * 30_000 + b"\r\n" * 70_000 + b" z\r\n" + b" \r\n" * 70_000))


def test_a_domain_in_its_own_letters_signs_in_ascii() -> None:
    key = DkimKey("B\u00fccher.example", "S1", pem(ED25519))
    assert (key.domain, key.selector) == ("xn--bcher-kva.example", "s1")


WORDS = st.lists(
    st.sampled_from([b"a", b"B:", b" ", b"  ", b"\t", b"\r\n ", b"\r\n\t \t", b"\xc3\xa4", b"=", b";", b"b="]),
    max_size=8,
).map(lambda words: b"x" + b"".join(words))
NAMES = st.sampled_from(
    [b"To", b"sUBJECT", b"Cc", b"References", b"Content-Type", b"MIME-Version", b"X-Other", b"Sender"]
)
BODY_LINES = st.lists(
    st.sampled_from([b"", b" ", b"\t \t", b"a", b" a", b"a  b", b"a \t", b"\x00\xff", b"."]), max_size=12
)


@given(st.lists(st.tuples(NAMES, WORDS), max_size=6), BODY_LINES, st.sampled_from([RSA_KEY, ED25519_KEY]))
@example([(b"To", b"x\r\n "), (b"To", b"x \r\n\t")], [b" ", b""], ED25519_KEY)
def test_odd_space_and_folds_verify(fields: list[tuple[bytes, bytes]], body: list[bytes], key: DkimKey) -> None:
    header = b"".join(name + b":" + value + b"\r\n" for name, value in [*fields, (b"From", b" a@b")])
    assert verifies(signed(header + b"\r\n" + b"".join(line + b"\r\n" for line in body), key))


@given(st.binary())
def test_any_octets_can_be_signed(octets: bytes) -> None:
    assert sign(octets, ED25519_KEY, NOW).startswith(b"DKIM-Signature: v=1; ")


@pytest.mark.parametrize(
    ("domain", "selector", "private_key", "says"),
    [
        ("", "s", pem(ED25519), "the domain '' is no domain name"),
        ("shop.example; x=1", "s", pem(ED25519), "the domain 'shop.example; x=1' is no domain name"),
        ("shop.example", "a b", pem(ED25519), "the selector 'a b' is no domain name part"),
        ("shop.example", "s", "SECRET", "the private key is no PEM private key (-----BEGIN PRIVATE KEY-----)"),
        (
            "shop.example",
            "s",
            pem(ED25519)[:-40],
            "the private key is no PEM private key (-----BEGIN PRIVATE KEY-----)",
        ),
        (
            "shop.example",
            "s",
            ED25519.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x")).decode(),
            "the private key is encrypted; store it without a password",
        ),
        (
            "shop.example",
            "s",
            pem(ec.generate_private_key(ec.SECP256R1())),
            "the private key is EC; DKIM takes RSA and Ed25519",
        ),
        (
            "shop.example",
            "s",
            pem(rsa.generate_private_key(65537, 4104)),
            "the RSA key has 4104 bits; use 1024 to 4096, best 2048",
        ),
    ],
    ids=lambda value: None if "PRIVATE" not in value else "key",
)
def test_a_key_that_cannot_be_used_says_why(domain: str, selector: str, private_key: str, says: str) -> None:
    with pytest.raises(BadKey) as refused:
        DkimKey(domain, selector, private_key)
    assert str(refused.value) == says


def test_a_key_is_never_shown() -> None:
    assert repr(RSA_KEY) == "DkimKey(domain='shop.example', selector='rsa')"
