"""Carries requests to the API, and says what is wrong where it does not do them."""

import http.client
import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import SplitResult, urlencode, urlsplit

from client.api.command import Request
from client.api.errors import ApiError, KeyRefusedError, RefusedError, UnreachableError, UsageError

ROOT: Final = "/api/v1"
_AGENT: Final = "smtp-proxy"
# A conflict that tells when to come again is with the same request, which is still being carried out.
_BUSY: Final = frozenset({HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_KINDS: Final[Mapping[int, type[ApiError]]] = {
    HTTPStatus.UNAUTHORIZED: KeyRefusedError,
    HTTPStatus.FORBIDDEN: KeyRefusedError,
    HTTPStatus.BAD_GATEWAY: UnreachableError,
    HTTPStatus.SERVICE_UNAVAILABLE: UnreachableError,
    HTTPStatus.GATEWAY_TIMEOUT: UnreachableError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """Its JSON; None where it has none."""
        if "json" not in self.headers.get("content-type", ""):
            return None
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class AnsweredError(Exception):
    """An answer that is no success; `fault` says what it means."""

    def __init__(self, answer: Answer, fault: ApiError) -> None:
        super().__init__(str(fault))
        self.answer = answer
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited for an API that is busy.

    Attributes:
        tries: of a request, at most.
        longest: pause that is waited out, in seconds; one that is longer is not begun.
    """

    tries: int = 4
    longest: float = 60.0
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The way to an API.

    Attributes:
        url: its origin, and a path before `/api/v1` if it has one.
        key: to show; never in an error.
        ca: file of authorities to trust instead of the system's.
        seconds: to connect, and between two octets.
        plain_http: whether the key may go without TLS to another machine.
    """

    url: str
    key: str
    ca: str = ""
    seconds: float = 30.0
    plain_http: bool = False
    patience: Patience = Patience()

    def send(self, request: Request) -> Answer:
        """Send a request, again if the API is busy and it can be repeated.

        Raises:
            AnsweredError: the API does not do it.
            UnreachableError: there is no answer.
            UsageError: the address or the file of authorities is wrong.
        """
        address = _address(self.url, plain_http=self.plain_http)
        answer = self._once(address, request)
        for _ in range(self.patience.tries - 1):
            pause = _pause(answer) if request.repeatable else None
            if pause is None or pause > self.patience.longest:
                break
            self.patience.sleep(pause)
            answer = self._once(address, request)
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return answer
        raise AnsweredError(answer, _fault(answer))

    def _once(self, address: SplitResult, request: Request) -> Answer:
        query = f"?{urlencode(request.query)}" if request.query else ""
        headers = {"Authorization": f"Bearer {self.key}", "User-Agent": _AGENT, **request.headers}
        connection = self._connection(address)
        try:
            connection.request(
                request.method, address.path.rstrip("/") + ROOT + request.path + query, request.body, headers
            )
            got = connection.getresponse()
            found = {name.lower(): value for name, value in got.getheaders()}
            return Answer(got.status, found, got.read())
        except ssl.SSLCertVerificationError as error:
            words = f"its certificate is not trusted: {error.verify_message}; --ca FILE names another authority"
            raise UnreachableError(f"{self.url}: {words}") from error
        except ValueError as error:
            raise UsageError(
                f"{self.url}: the host, or the value of a header, is of letters that cannot be sent"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise UnreachableError(f"{self.url}: {_words(error)}") from error
        finally:
            connection.close()

    def _connection(self, address: SplitResult) -> http.client.HTTPConnection:
        host = address.hostname or ""
        if address.scheme == "http":
            return http.client.HTTPConnection(host, address.port, timeout=self.seconds)
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
        except OSError as error:
            raise UsageError(f"{self.ca}: holds no certificates: {error.strerror or error}") from error
        return http.client.HTTPSConnection(host, address.port, timeout=self.seconds, context=context)


def check(url: str, *, plain_http: bool) -> None:
    """Refuse an address that no key is sent to.

    Raises:
        UsageError: it is none, or it is of another machine and without TLS.
    """
    _address(url, plain_http=plain_http)


def _address(url: str, *, plain_http: bool) -> SplitResult:
    try:
        address = urlsplit(url)
        host, _ = address.hostname, address.port
    except ValueError as error:
        raise UsageError(f"{url}: is no URL: {error}") from None
    if address.scheme not in {"http", "https"} or not host or address.query or address.fragment or "@" in url:
        raise UsageError(f"{url}: is no URL of an API, as in https://api.example.com")
    if address.scheme == "http" and not plain_http and not _is_here(host):
        raise UsageError(f"{url}: the key would go there unencrypted; use https, or set plain_http in the profile")
    return address


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _pause(answer: Answer) -> float | None:
    """How long the API wants to be left alone; None where it does not say."""
    text = answer.headers.get("retry-after", "")
    return float(text) if answer.status in _BUSY and text.isdecimal() else None


def _fault(answer: Answer) -> ApiError:
    told = answer.document if isinstance(answer.document, dict) else {}
    try:
        title = HTTPStatus(answer.status).phrase
    except ValueError:
        title = "unknown status"
    words = f"{told.get('title', title)} ({answer.status})"
    if told.get("detail"):
        words += f": {told['detail']}"
    if told.get("errors"):
        words += ": " + "; ".join(f"{each.get('where')}: {each.get('what')}" for each in told["errors"])
    if "retry-after" in answer.headers and answer.status in _BUSY:
        words += f" (Retry-After: {answer.headers['retry-after']} s)"
    if told.get("request"):
        words += f" [request {told['request']}]"
    return _KINDS.get(answer.status, RefusedError)(words)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "there was no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
