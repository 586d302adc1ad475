"""Requests to an ACME server: the `acme` library's, with what it leaves out, and its errors in our words."""

import base64
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import requests
from acme import errors, messages
from acme.client import ClientNetwork, ClientV2
from cryptography import x509
from josepy.json_util import field
from josepy.jwa import ES256
from josepy.jwk import JWK
from typing_extensions import override

from backing import ids
from mail.errors import Unavailable
from worker.certificates.faults import Conflict, Later, Rejected

# The server may refuse any nonce, and gives a new one with its refusal (RFC 8555, 6.5).
_NONCES: Final = 8
# Where a server that limits us does not say for how long.
LATER_SECONDS: Final = 3600.0
_PUTS_OFF: Final = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
_PASSING: Final = {"serverInternal", "badNonce"}
# How Let's Encrypt says it in its own words.
_RETRY_AFTER_TEXT: Final = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d) ?(?:UTC|Z)", re.IGNORECASE)
_AGENT: Final = "smtp-proxy"
_SECONDS: Final = 30


class Network(ClientNetwork):
    """Signs and sends; remembers how the server refused last."""

    def __init__(self, key: JWK | None) -> None:
        super().__init__(key, alg=ES256, user_agent=_AGENT, timeout=_SECONDS)
        self.status = 0
        self.retry_after = ""

    @override
    def post(self, *args: Any, **kwargs: Any) -> requests.Response:
        for _ in range(_NONCES):
            try:
                return self._post_once(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return self._post_once(*args, **kwargs)

    @override
    def _send_request(self, method: str, url: str, *args: Any, **kwargs: Any) -> requests.Response:
        self.status, self.retry_after = 0, ""
        response = super()._send_request(method, url, *args, **kwargs)
        self.status, self.retry_after = response.status_code, response.headers.get("Retry-After", "")
        if not response.ok and "Replay-Nonce" in response.headers:
            # The next request has it at hand; the library would ask for another one.
            self._add_nonce(response)
        return response


class _Order(messages.NewOrder):
    """An order that says which certificate it is to replace (RFC 9773, 5): such orders are exempt from limits."""

    replaces: str | None = field("replaces", omitempty=True)


class Client(ClientV2):
    """The library's client, which can say what an order replaces."""

    replaces: str | None = None

    @override
    def _post(self, *args: Any, **kwargs: Any) -> requests.Response:
        url, order, *rest = args
        if self.replaces and isinstance(order, messages.NewOrder):
            order = _Order(identifiers=order.identifiers, profile=order.profile, replaces=self.replaces)
        return super()._post(url, order, *rest, **kwargs)


def certificate_id(leaf: x509.Certificate) -> str | None:
    """Name a certificate as RFC 9773, 4.1 does, by its issuer's key and its number; None where it has no such name."""
    try:
        authority = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    except x509.ExtensionNotFound:
        return None
    if authority is None:
        return None
    number = leaf.serial_number
    # As in the certificate: a positive number in two's complement has its first bit unset.
    return f"{_base64url(authority)}.{_base64url(number.to_bytes(number.bit_length() // 8 + 1, 'big'))}"


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).decode("ascii").rstrip("=")


def in_our_words(fault: Exception, network: Network) -> Exception:
    """Give what a fault of the library means: Later, Rejected or Unavailable."""
    if isinstance(fault, requests.RequestException):
        return Unavailable(f"ACME server: {type(fault).__name__}: {fault}")
    if isinstance(fault, errors.ConflictError):
        return Conflict(f"conflict with {fault.location}")
    if isinstance(fault, errors.IssuanceError):
        fault = fault.error
    words = "; ".join(_words(fault))
    seconds = seconds_to_wait(network.retry_after, words)
    code = fault.code if isinstance(fault, messages.Error) else ""
    if code == "rateLimited" or (seconds and network.status in _PUTS_OFF):
        return Later(words, seconds or LATER_SECONDS)
    ours = isinstance(fault, messages.Error | errors.ValidationError)
    if ours and code not in _PASSING and network.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Rejected(words)
    return Unavailable(f"ACME server: {words}")


def _words(fault: Exception) -> Iterator[str]:
    if isinstance(fault, errors.ValidationError):
        for authorization in fault.failed_authzrs:
            for challenge in authorization.body.challenges:
                if challenge.error:
                    yield f"{authorization.body.identifier.value}: {'; '.join(_words(challenge.error))}"
    elif isinstance(fault, messages.Error):
        yield f"{fault.code or fault.typ}: {fault.detail or fault.title or 'no reason given'}"
        for part in fault.subproblems or ():
            yield from _words(part)
    elif fault.args and isinstance(fault.args[0], requests.Response):
        yield f"answered {fault.args[0].status_code} {fault.args[0].reason}"
    else:
        yield f"{type(fault).__name__}: {fault}".rstrip(": ")


def seconds_to_wait(header: str, words: str) -> float | None:
    """Read for how long to stay away: Retry-After in seconds or as a date (RFC 9110, 10.2.3), or the server's words."""
    if header.isascii() and header.isdigit():
        return float(header)
    moment = None
    if header:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            moment = None
    if moment is None and (found := _RETRY_AFTER_TEXT.search(words)):
        moment = datetime.fromisoformat("T".join(found.groups()))
    if moment is None:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - ids.now()).total_seconds())
