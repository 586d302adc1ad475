"""Who a call comes from; keys and certificates are made here."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from mail.events import verify
from mail.events.event import BadCall, Fault
from mail.events.reading import MAX_OCTETS
from mail.events.verify import SENDGRID_SIGNATURE, SENDGRID_TIMESTAMP, Clock
from tests.mail.events import calls

NOW = datetime(2026, 11, 24, 12, 1, tzinfo=UTC)
CLOCK = Clock(NOW)
STAMP = str(int(NOW.timestamp()))
KEY = "key-of-the-webhook"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
TOPIC = "arn:aws:sns:eu-central-1:123456789012:ses-events"
TOPICS = frozenset({TOPIC})
URL = calls.sns({})["SigningCertURL"]


def refused(bad: pytest.ExceptionInfo[BadCall]) -> tuple[Fault, str]:
    return bad.value.fault, bad.value.reason


def mailgun(stamp: str = STAMP, token: str = "t" * 50, key: str = KEY, **changes: Any) -> bytes:
    digest = hmac.new(key.encode(), f"{stamp}{token}".encode(), hashlib.sha256).hexdigest()
    call = calls.mailgun("delivered")
    call["signature"] = {"timestamp": stamp, "token": token, "signature": digest, **changes}
    return calls.body(call)


def test_a_call_of_mailgun_is_known_by_its_token() -> None:
    first, again, other = (verify.mailgun(mailgun(token=token), KEY, CLOCK) for token in ("aa", "aa", "bb"))
    assert first == again != other
    assert len(first) <= 64


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (mailgun(key="another"), "its signature is wrong"),
        (mailgun(signature="é"), "its signature is wrong"),
        (mailgun(signature=None), "its signature is wrong"),
        (mailgun(token=""), "its signature is wrong"),
        (mailgun(stamp="soon"), "its time is none"),
        (mailgun(stamp="9" * 12), "its time is none"),
        (mailgun(stamp=str(int(STAMP) - 86_401)), "its time is not of now"),
        (mailgun(stamp=str(int(STAMP) + 301)), "its time is not of now"),
        (b'{"signature": 5}', "it is not signed"),
        (b"{}", "its signature is wrong"),
    ],
)
def test_a_call_that_mailgun_did_not_sign_now_is_refused(call: bytes, reason: str) -> None:
    with pytest.raises(BadCall) as bad:
        verify.mailgun(call, KEY, CLOCK)
    assert refused(bad) == (Fault.CALLER, reason)


def sendgrid(body: bytes, stamp: str = STAMP, key: ec.EllipticCurvePrivateKey = EC_KEY) -> dict[str, str]:
    signature = key.sign(stamp.encode() + body, ec.ECDSA(SHA256()))
    return {SENDGRID_SIGNATURE: base64.b64encode(signature).decode(), SENDGRID_TIMESTAMP: stamp}


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def test_a_call_of_sendgrid_is_known_by_its_text_however_it_is_signed() -> None:
    body = calls.body([calls.sendgrid("open")])
    first, again = (verify.sendgrid(sendgrid(body), body, public(EC_KEY), CLOCK) for _ in range(2))
    assert sendgrid(body) != sendgrid(body)
    assert first == again != verify.sendgrid(sendgrid(b"[]"), b"[]", public(EC_KEY), CLOCK)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (sendgrid(b"[1]"), "its signature is wrong"),
        (sendgrid(b"[]", key=ec.generate_private_key(ec.SECP256R1())), "its signature is wrong"),
        (sendgrid(b"[]") | {SENDGRID_TIMESTAMP: str(int(STAMP) - 1)}, "its signature is wrong"),
        (sendgrid(b"[]") | {SENDGRID_SIGNATURE: "é!"}, "its signature is wrong"),
        (sendgrid(b"[]") | {SENDGRID_TIMESTAMP: "\udcff"}, "its signature is wrong"),
        ({}, "its signature is wrong"),
        (sendgrid(b"[]", str(int(STAMP) - 86_401)), "its time is not of now"),
    ],
)
def test_a_call_that_sendgrid_did_not_sign_now_is_refused(headers: dict[str, str], reason: str) -> None:
    with pytest.raises(BadCall) as bad:
        verify.sendgrid(headers, b"[]", public(EC_KEY), CLOCK)
    assert refused(bad) == (Fault.CALLER, reason)


@pytest.mark.parametrize("key", ["", "no key", public(RSA_KEY), public(ec.generate_private_key(ec.SECP384R1()))])
def test_a_key_of_ours_that_is_none_is_our_fault(key: str) -> None:
    with pytest.raises(BadCall, match="verification key") as bad:
        verify.sendgrid(sendgrid(b"[]"), b"[]", key, CLOCK)
    assert bad.value.fault is Fault.OURS


def basic(text: str, scheme: str = "Basic") -> dict[str, str]:
    return {"authorization": f"{scheme} {base64.b64encode(text.encode()).decode()}"}


def test_a_call_of_postmark_knows_the_password() -> None:
    verify.postmark(basic("hook:päss"), b"{}", "hook", "päss")
    verify.postmark(basic("hook:päss", "basic"), b"{}", "hook", "päss")


@pytest.mark.parametrize(
    "headers",
    [{}, basic("hook:wrong"), basic("other:secret"), basic("hook:secret", "Bearer"), {"authorization": "Basic \udcff"}],
)
def test_a_call_without_the_password_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(BadCall) as bad:
        verify.postmark(headers, b"{}", "hook", "secret")
    assert refused(bad) == (Fault.CALLER, "its credentials are wrong")


def test_without_a_secret_of_ours_nothing_is_trusted() -> None:
    with pytest.raises(BadCall) as bad:
        verify.postmark(basic(":"), b"{}", "", "")
    assert bad.value.fault is Fault.OURS
    with pytest.raises(BadCall) as bad:
        verify.mailgun(mailgun(key=""), "", CLOCK)
    assert bad.value.fault is Fault.OURS


def test_a_call_that_is_too_long_is_refused_before_it_is_looked_at() -> None:
    long = b" " * (MAX_OCTETS + 1)
    for check in (
        lambda: verify.mailgun(long, KEY, CLOCK),
        lambda: verify.sendgrid(sendgrid(long), long, public(EC_KEY), CLOCK),
        lambda: verify.postmark(basic("a:b"), long, "a", "b"),
        lambda: verify.certificate_url(long, TOPICS),
    ):
        with pytest.raises(BadCall, match="longer than"):
            check()


def certificate(begin: datetime = NOW - timedelta(days=1), days: int = 30, key: Any = RSA_KEY) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    made = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(begin).not_valid_after(begin + timedelta(days=days))
    return made.sign(key, SHA256()).public_bytes(Encoding.PEM)


PEM = certificate()


def sns(version: str = "2", **changes: Any) -> dict[str, Any]:
    """A signed message of SNS; a field that is None is left out."""
    call = calls.sns("{}") | {"SignatureVersion": version} | changes
    call = {name: value for name, value in call.items() if value is not None}
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    if call["Type"] != "Notification":
        names.remove("Subject")
    text = "".join(f"{name}\n{call[name]}\n" for name in names if name in call)
    algorithm = SHA1() if version == "1" else SHA256()  # noqa: S303 - as AWS signs
    signature = RSA_KEY.sign(text.encode(), padding.PKCS1v15(), algorithm)
    return call | {"Signature": base64.b64encode(signature).decode()}


@pytest.mark.parametrize(
    "call",
    [
        sns("1"),
        sns("2"),
        sns(Subject=None),
        sns(Type="SubscriptionConfirmation", Token="t", SubscribeURL="https://sns.eu-central-1.amazonaws.com/"),
    ],
)
def test_a_message_of_sns_is_known_by_its_id(call: dict[str, Any]) -> None:
    body = calls.body(call)
    assert verify.certificate_url(body, TOPICS) == URL
    key = verify.sns(body, PEM, TOPICS, CLOCK)
    other = sns(MessageId="another")
    assert key != verify.sns(calls.body(other), PEM, TOPICS, CLOCK)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (sns() | {"Message": "{} "}, "its signature is wrong"),
        (sns() | {"Subject": "other"}, "its signature is wrong"),
        (sns() | {"SignatureVersion": "1"}, "its signature is wrong"),
        (sns() | {"Signature": "!"}, "its signature is wrong"),
        (sns(Timestamp="soon"), "its signature is wrong"),
        (sns("3"), "its form is unknown"),
        (sns(Type="Gossip"), "its form is unknown"),
        (sns(Timestamp="2026-11-23T12:00:00.000Z"), "its time is not of now"),
        (sns(TopicArn=TOPIC + "x"), "its topic is not one of ours"),
        (sns(TopicArn=None), "its topic is not one of ours"),
    ],
)
def test_a_message_that_sns_did_not_sign_now_for_us_is_refused(call: dict[str, Any], reason: str) -> None:
    with pytest.raises(BadCall) as bad:
        verify.sns(calls.body(call), PEM, TOPICS, CLOCK)
    assert refused(bad) == (Fault.CALLER, reason)


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        5,
        URL.replace("https:", "http:"),
        URL.replace("eu-central-1", "us-east-1"),
        URL.replace("amazonaws.com", "amazonaws.com.evil.example"),
        URL.replace("amazonaws.com", "amazonaws.com:8443"),
        URL.replace("//sns.", "//user@sns."),
        URL.replace("//sns.", "//evil.example/sns."),
        URL.replace(".com/", ".com/bucket/"),
        URL + "?x",
        URL + "#x",
        URL + "\n",
        URL.replace(".pem", ".html"),
        "https://[",
    ],
)
def test_a_certificate_that_is_not_of_aws_is_not_asked_for(url: object) -> None:
    with pytest.raises(BadCall) as bad:
        verify.certificate_url(json.dumps(calls.sns("{}") | {"SigningCertURL": url}).encode(), TOPICS)
    assert refused(bad) == (Fault.CALLER, "its certificate is not of AWS")


@pytest.mark.parametrize(
    ("pem", "reason"),
    [
        (b"nothing", "its certificate is none"),
        (certificate(NOW - timedelta(days=40)), "its certificate is not valid"),
        (certificate(NOW + timedelta(days=1)), "its certificate is not valid"),
        (certificate(key=EC_KEY), "its certificate is not valid"),
    ],
)
def test_a_certificate_that_cannot_be_of_now_proves_nothing(pem: bytes, reason: str) -> None:
    with pytest.raises(BadCall) as bad:
        verify.sns(calls.body(sns()), pem, TOPICS, CLOCK)
    assert refused(bad) == (Fault.CALLER, reason)
