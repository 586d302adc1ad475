"""Signature Version 4 of AWS requests, for the few calls that are made too often to go through an SDK."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

_ALGORITHM: Final = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a request is signed with; a role's keys come with a session token."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Post:
    """One POST.

    Attributes:
        host: as the Host header will say it, with the port where it is not the usual one.
        headers: what is signed beside Host, in lower case and in no order.
        path: of letters that stand for themselves in a URL.
    """

    host: str
    headers: Mapping[str, str]
    body: bytes
    path: str = "/"


class Signer:
    """Signs requests to one service of one region.

    Source: "AWS Signature Version 4 for API requests", IAM User Guide.

    Args:
        region: such as `eu-central-1`.
        service: the service's signing name, such as `sqs`.
    """

    def __init__(self, region: str, service: str) -> None:
        self._region = region
        self._service = service
        # The signing key is good for a day; the secret key is part of the name, since a role's keys change.
        self._known: tuple[tuple[str, str], bytes] = (("", ""), b"")

    def headers(self, post: Post, keys: Keys, at: datetime) -> dict[str, str]:
        """Give the headers that `post` is to carry: its own, the time, the token, and the signature of them all.

        Args:
            post: the request.
            keys: whose request it is.
            at: the time in UTC; AWS takes what is off by less than five minutes.
        """
        moment = at.strftime("%Y%m%dT%H%M%SZ")
        headers = {**post.headers, "x-amz-date": moment}
        if keys.token:
            headers["x-amz-security-token"] = keys.token
        signed = sorted([*headers.items(), ("host", post.host)])
        names = ";".join([name for name, _ in signed])
        lines = "".join([f"{name}:{value}\n" for name, value in signed])
        request = f"POST\n{post.path}\n\n{lines}\n{names}\n{hashlib.sha256(post.body).hexdigest()}"
        scope = f"{moment[:8]}/{self._region}/{self._service}/aws4_request"
        text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        signature = hmac.digest(self._key(keys.secret_key, moment[:8]), text.encode(), "sha256").hex()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return headers

    def _key(self, secret_key: str, day: str) -> bytes:
        name, key = self._known
        if name != (secret_key, day):
            key = f"AWS4{secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._known = ((secret_key, day), key)
        return key
