"""Whether a call comes from its provider: signatures, age, and what shows that it came before.

Every function takes the call as it came and gives a key under which it is known, so that the same call counts once,
or None where the provider gives it none. None of them tells a caller how far it got.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from mail.events.event import BadCall, Fault
from mail.events.reading import MAX_NAME, MAX_OCTETS, Fields, Unreadable, document, identity, whole

# Providers repeat a call that was not answered for many hours, and some sign it once. What was taken before is known by
# its key and its events' ids, so age only has to bound how long those are kept.
MAX_AGE: Final = timedelta(hours=24)
MAX_AHEAD: Final = timedelta(minutes=5)

SENDGRID_SIGNATURE: Final = "x-twilio-email-event-webhook-signature"
SENDGRID_TIMESTAMP: Final = "x-twilio-email-event-webhook-timestamp"

_CERTIFICATE = re.compile(
    r"https://sns\.([a-z0-9-]{3,32})\.amazonaws\.com(?:\.cn)?/SimpleNotificationService-[0-9a-f]{16,64}\.pem"
)
_TOPIC = re.compile(r"arn:aws[a-z-]*:sns:([a-z0-9-]+):\d{12}:[A-Za-z0-9_.-]{1,256}")
# What SNS signs, in this order (SNS Developer Guide, "Verifying the signatures of Amazon SNS messages").
_NOTIFICATION: Final = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION: Final = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED: Final = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}


@dataclass(frozen=True, slots=True)
class Clock:
    """When a call is looked at, and how old it may be."""

    now: datetime
    max_age: timedelta = MAX_AGE

    def check(self, at: datetime) -> None:
        """Refuse what is older, or of a time to come.

        Raises:
            BadCall: it is.
        """
        if not -MAX_AHEAD <= self.now - at <= self.max_age:
            raise _untrusted("its time is not of now")


def mailgun(body: bytes, key: str, clock: Clock) -> str:
    """Check a call of Mailgun: HMAC-SHA256 of timestamp and token, under the webhook signing key.

    The signature does not cover the event, so a call with a key that came before must not be used again.

    Raises:
        BadCall: it is not Mailgun's.
    """
    if not key:
        raise BadCall(Fault.OURS, "the provider has no webhook signing key")
    try:
        call = whole(document(body), "call")
    except BadCall as bad:
        # Its signature is within: of what cannot be read nobody knows who sent it.
        raise _untrusted(bad.reason) from None
    signature = _trusted(call, "signature")
    timestamp, token = signature.text("timestamp", MAX_NAME), signature.text("token", MAX_NAME)
    if not timestamp:
        timestamp = str(signature.number("timestamp") or "")
    expected = hmac.digest(key.encode(), f"{timestamp}{token}".encode(), "sha256").hex()
    if not hmac.compare_digest(expected.encode(), signature.text("signature", MAX_NAME).encode()) or not token:
        raise _untrusted("its signature is wrong")
    clock.check(_time(timestamp))
    return identity("mailgun", token)


def sendgrid(headers: Mapping[str, str], body: bytes, key: str, clock: Clock) -> str:
    """Check a call of SendGrid: ECDSA over timestamp and body, with the public key of the signed event webhook.

    Args:
        headers: of the call, with their names in small letters.
        body: of the call, octet for octet.
        key: as SendGrid shows it: a P-256 key, DER in base64.
        clock: when it is looked at.

    Raises:
        BadCall: it is not SendGrid's, or the key is none.
    """
    _check_size(body)
    public = _p256(key)
    timestamp, signature = headers.get(SENDGRID_TIMESTAMP, ""), headers.get(SENDGRID_SIGNATURE, "")
    try:
        octets = _base64(signature)
        public.verify(octets, timestamp.encode() + body, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        raise _untrusted("its signature is wrong") from None
    clock.check(_time(timestamp))
    # ECDSA has more than one signature for a text, so the text is what counts.
    return identity("sendgrid", timestamp, hashlib.sha256(body).hexdigest())


def postmark(headers: Mapping[str, str], body: bytes, user: str, password: str) -> None:
    """Check a call of Postmark, which signs nothing: HTTP basic authentication, as its webhook's URL has it.

    Args:
        headers: of the call, with their names in small letters.
        body: of the call.
        user: that the URL has.
        password: that the URL has.

    Raises:
        BadCall: it is not Postmark's, or we have no password to compare.
    """
    _check_size(body)
    if not password:
        raise BadCall(Fault.OURS, "the provider has no webhook password")
    expected = base64.b64encode(f"{user}:{password}".encode())
    scheme, _, given = headers.get("authorization", "").partition(" ")
    if not hmac.compare_digest(expected, given.strip().encode(errors="surrogateescape")) or scheme.lower() != "basic":
        raise _untrusted("its credentials are wrong")


def certificate_url(body: bytes, topics: frozenset[str]) -> str:
    """Where the certificate of an SNS message is, if that is a place of AWS's, in the region of a topic of ours.

    Raises:
        BadCall: it is not.
    """
    call = whole(document(body), "call")
    topic, url = call.long("TopicArn"), call.long("SigningCertURL")
    region = _TOPIC.fullmatch(topic)
    if topic not in topics or not region:
        raise _untrusted("its topic is not one of ours")
    place = _CERTIFICATE.fullmatch(url)
    if not place or place[1] != region[1]:
        raise _untrusted("its certificate is not of AWS")
    return url


def sns(body: bytes, certificate: bytes, topics: frozenset[str], clock: Clock) -> str:
    """Check a message of SNS: RSA over its fields, of signature version 1 (SHA-1) or 2 (SHA-256).

    Args:
        body: of the call.
        certificate: what is at `certificate_url`, in PEM.
        topics: ARNs of those that may tell us something.
        clock: when it is looked at.

    Raises:
        BadCall: it is not of such a topic.
    """
    certificate_url(body, topics)
    call = whole(document(body), "call")
    algorithm = {"1": SHA1(), "2": SHA256()}.get(call.text("SignatureVersion"))  # noqa: S303 - AWS's own choice
    names = _SIGNED.get(call.text("Type"))
    if algorithm is None or names is None:
        raise _untrusted("its form is unknown")
    public = _rsa(certificate, clock.now)
    try:
        signature = _base64(call.long("Signature"))
        public.verify(signature, _signed(call, names), padding.PKCS1v15(), algorithm)
        at = call.time("Timestamp")
    except (InvalidSignature, ValueError):
        raise _untrusted("its signature is wrong") from None
    clock.check(at)
    return identity("sns", call.long("MessageId"))


def _signed(call: Fields, names: tuple[str, ...]) -> bytes:
    lines = [f"{name}\n{call.long(name)}\n" for name in names if call.has(name)]
    return "".join(lines).encode("utf-8", "replace")


def _check_size(body: bytes) -> None:
    if len(body) > MAX_OCTETS:
        raise BadCall(Fault.PROVIDER, f"longer than {MAX_OCTETS} octets")


def _p256(key: str) -> ec.EllipticCurvePublicKey:
    try:
        public: Any = load_der_public_key(_base64(key))
    except ValueError:
        raise BadCall(Fault.OURS, "the provider's webhook verification key is none") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BadCall(Fault.OURS, "the provider's webhook verification key is not of P-256")
    return public


def _rsa(pem: bytes, now: datetime) -> rsa.RSAPublicKey:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        public = certificate.public_key()
    except ValueError:
        raise _untrusted("its certificate is none") from None
    valid = certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc
    if not valid or not isinstance(public, rsa.RSAPublicKey):
        raise _untrusted("its certificate is not valid")
    return public


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("no base64") from None


def _time(seconds: str) -> datetime:
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 11):  # noqa: PLR2004 - till the year 5138
        raise _untrusted("its time is none")
    return datetime.fromtimestamp(int(seconds), UTC)


def _trusted(call: Fields, name: str) -> Fields:
    try:
        return call.object(name)
    except Unreadable:
        raise _untrusted("it is not signed") from None


def _untrusted(reason: str) -> BadCall:
    return BadCall(Fault.CALLER, reason)
