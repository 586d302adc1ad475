"""Who signs in: SASL responses read, credentials checked, and known ones trusted while the database is away."""

import asyncio
import binascii
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from aiosmtpd.smtp import LoginPassword

from mail.accounts import Credential, secret_digest
from mail.errors import Refused, Unavailable
from relay import replies

# A refusal takes this long whatever its reason, so that its time tells nothing and guessing is slow.
REFUSAL_SECONDS: Final = 0.25
# How long a database that did not answer is left alone, as far as known credentials go.
ASK_AGAIN_SECONDS: Final = 5.0
MAX_KNOWN: Final = 10_000


class Accounts(Protocol):
    """Where credentials are kept."""

    async def __call__(self, username: str, /) -> Credential | None:
        """Give the credential that signs in under a name; raises `Unavailable` when nothing is known about it."""


@dataclass(frozen=True, slots=True)
class _Known:
    credential: Credential
    fresh_until: float


class Doorkeeper:
    """Checks credentials.

    A credential that signed in before is trusted without asking for `trust_seconds`, and for as long as the database
    does not answer: an outage stops no sender that we know, and tells none that its password is wrong.

    Args:
        accounts: where credentials are kept.
        key: what secrets are digested with.
        trust_seconds: age below which a known credential is trusted without asking.
        clock: seconds that only ever grow.
    """

    def __init__(
        self, accounts: Accounts, key: bytes, trust_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._accounts = accounts
        self._key = key
        self._trust_seconds = trust_seconds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._ask_at = 0.0
        # Stands in for the credential of a user that does not exist, so that both take the same steps.
        self._nobody = secret_digest(key, "", "")

    async def admit(self, login: LoginPassword) -> Credential:
        """Give the credential that a login and password belong to.

        Raises:
            Refused: 535 5.7.8, there is none.
            Unavailable: the database did not answer, and the credential was never seen before.
        """
        began = self._clock()
        credential = await self._find(login)
        if credential is None:
            await asyncio.sleep(max(began + REFUSAL_SECONDS - self._clock(), 0))
            raise replies.refusal(replies.BAD_CREDENTIAL)
        return credential

    async def _find(self, login: LoginPassword) -> Credential | None:
        try:
            username, secret = login.login.decode(), login.password.decode()
        except UnicodeDecodeError:
            return None
        # PostgreSQL's text cannot hold a NUL, so nobody is called that.
        if not username or "\0" in username:
            return None
        return self._trusted(username, secret) or await self._ask(username, secret)

    def _trusted(self, username: str, secret: str) -> Credential | None:
        known = self._known.get(username)
        if known is None or not known.credential.admits(self._key, secret):
            return None
        now = self._clock()
        if now < known.fresh_until or now < self._ask_at:
            return known.credential
        if self._ask_at:
            # The database was away: this caller finds out whether it still is, the others do not wait for it.
            self._ask_at = now + ASK_AGAIN_SECONDS
        return None

    async def _ask(self, username: str, secret: str) -> Credential | None:
        try:
            credential = await self._accounts(username)
        except Unavailable:
            self._ask_at = self._clock() + ASK_AGAIN_SECONDS
            known = self._known.get(username)
            if known and known.credential.admits(self._key, secret):
                return known.credential
            raise
        self._ask_at = 0.0
        self._known.pop(username, None)
        digest = credential.digest if credential else self._nobody
        if not hmac.compare_digest(digest, secret_digest(self._key, username, secret)) or credential is None:
            return None
        self._remember(username, credential)
        return credential

    def _remember(self, username: str, credential: Credential) -> None:
        if len(self._known) >= MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[username] = _Known(credential, self._clock() + self._trust_seconds)


def decode_response(text: str) -> bytes:
    """Decode what a client sent for a SASL challenge (RFC 4954, section 4).

    Raises:
        Refused: 501, the exchange is cancelled or the text is not base64.
    """
    if text == "*":
        raise replies.refusal(replies.CANCELLED)
    try:
        return binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Refused(501, "5.5.2", "Cannot decode base64") from None


def decode_initial(text: str) -> bytes:
    """Decode an initial response; `=` is an empty one."""
    return b"" if text == "=" else decode_response(text)


def split_plain(response: bytes) -> LoginPassword:
    """Read the message of SASL PLAIN (RFC 4616); nobody may act for another.

    Raises:
        Refused: 501 5.5.2, it has not three parts; 535 5.7.8, it asks to act for another.
    """
    try:
        acting_for, login, password = response.split(b"\0")
    except ValueError:
        raise Refused(501, "5.5.2", "PLAIN needs: [authzid] NUL user NUL password") from None
    if acting_for not in {b"", login}:
        raise replies.refusal(replies.BAD_CREDENTIAL)
    return LoginPassword(login, password)
