"""When a certificate is to be renewed (TLS-010): as the ACME server says, and in time in any case."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives import hashes

from backing.certificates.material import Certificate

# Of a certificate's lifetime, what is left when it is renewed: a third, of those of a few days a half.
_LEFT: Final = 1 / 3
_LEFT_OF_SHORT: Final = 1 / 2
_SHORT: Final = timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Window:
    """When the ACME server would like a certificate to be renewed (ARI, RFC 9773, 4.2)."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done.

    Attributes:
        order: whether a new certificate is wanted now.
        at: when it is or was due.
        why: in words.
    """

    order: bool
    at: datetime
    why: str


def by_lifetime(certificate: Certificate) -> datetime:
    """Give the time at which so much of its lifetime is left that it has to be renewed."""
    lifetime = certificate.expires_at - certificate.begins_at
    return certificate.expires_at - lifetime * (_LEFT if lifetime >= _SHORT else _LEFT_OF_SHORT)


def within(window: Window, certificate: Certificate) -> datetime:
    """Choose a time in the window by chance, but always the same for a certificate, whoever asks and how often."""
    digest = certificate.leaf.fingerprint(hashes.SHA256())
    return window.start + (window.end - window.start) * (int.from_bytes(digest[:4], "big") / 2**32)


def decide(
    certificate: Certificate | None, names: Iterable[str], window: Window | None, now: datetime, interval: timedelta
) -> Verdict:
    """Say whether a new certificate is wanted.

    Args:
        certificate: what is kept, if it is fit to be served.
        names: which it has to have.
        window: what the ACME server says, if it does.
        now: what time it is.
        interval: until somebody asks again; what is due before that is due now (RFC 9773, 4.2).
    """
    if certificate is None:
        return Verdict(order=True, at=now, why="there is no usable certificate")
    if missing := set(names) - certificate.names:
        return Verdict(order=True, at=now, why=f"the certificate lacks names: {', '.join(sorted(missing))}")
    at, why = by_lifetime(certificate), "by its lifetime"
    if window and (wished := within(window, certificate)) < at:
        at, why = wished, "as the ACME server wishes"
    return Verdict(order=at <= now + interval, at=at, why=why)
