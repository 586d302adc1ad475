"""Who signs in, and whether a session's credential is still good."""

import asyncio
import hmac
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from aiosmtpd.smtp import LoginPassword

from backing.ids import now
from mail.accounts import ChosenSecret, Credential, GeneratedSecret, Secret, secret_digest
from mail.errors import Refused, Reply, Unavailable
from relay import replies
from relay.policy.credentials import Accounts, KnownCredentials
from relay.policy.passwords import Checked, Passwords

# A refusal takes this long whatever its reason, so that its time tells nothing and guessing is slow. It is longer than
# a slow hash takes.
REFUSAL_SECONDS: Final = 0.25
NO_LONGER_VALID: Final = Reply(550, "5.7.1", "Credential no longer valid")


class Throttle(Protocol):
    """Who keeps guessing slow."""

    async def address_objection(self, peer: str, username: str) -> Reply | None:
        """Say why an address may not try now."""

    async def username_objection(self, peer: str, username: str) -> Reply | None:
        """Say why a secret of this user may not be tried now."""

    def failed(self, peer: str, username: str) -> None:
        """Note a wrong guess."""

    def succeeded(self, peer: str, username: str) -> None:
        """Note that the right secret was given."""


class Unthrottled:
    """Lets anybody try."""

    async def address_objection(self, _peer: str, _username: str) -> Reply | None:
        """No objection."""
        return None

    async def username_objection(self, _peer: str, _username: str) -> Reply | None:
        """No objection."""
        return None

    def failed(self, _peer: str, _username: str) -> None:
        """Nothing is kept."""

    def succeeded(self, _peer: str, _username: str) -> None:
        """Nothing is kept."""


class Doorkeeper:
    """Checks credentials.

    A credential that signed in before is trusted without asking for `trust_seconds`, and for as long as the database
    does not answer: an outage stops no sender that we know, and tells none that its password is wrong.

    Args:
        accounts: where credentials are kept.
        key: what generated secrets are digested with.
        trust_seconds: age below which a known credential is trusted without asking.
        clock: seconds that only ever grow.
        throttle: who keeps guessing slow.
        passwords: who checks secrets that people chose.

    Attributes:
        today: gives the time, by which credentials and exchanged secrets end.
        used: called with a credential that signs in, and now and then with one whose session sends.
    """

    def __init__(
        self,
        accounts: Accounts,
        key: bytes,
        trust_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        throttle: Throttle | None = None,
        passwords: Passwords | None = None,
    ) -> None:
        self._known = KnownCredentials(accounts, trust_seconds, clock)
        self._key = key
        self._throttle = throttle or Unthrottled()
        self._passwords = passwords or Passwords()
        self.today = now
        self.used: Callable[[Credential], object] = _unnoted
        # A chosen secret that was right is recognised by a digest that means nothing outside this process.
        self._proof_key = secrets.token_bytes(32)
        self.fresh = self._known.fresh
        self.forget = self._known.forget
        self.forget_account = self._known.forget_account
        self.forget_all = self._known.forget_all

    async def admit(self, login: LoginPassword, peer: str) -> Credential:
        """Give the credential that a login and password belong to.

        Raises:
            Refused: 535 5.7.8, there is none, it has expired, or it may not be used from the peer's address; 454 4.7.0,
                too many wrong guesses.
            Unavailable: the database did not answer and the credential was never seen before, or too many passwords
                wait to be checked.
        """
        username, secret = _text(login)
        _heed(await self._throttle.address_objection(peer, username))
        began, credential = time.monotonic(), None
        if username:
            began, credential = await self._check(username, secret, peer)
        if credential is None:
            self._throttle.failed(peer, username)
            await asyncio.sleep(began + REFUSAL_SECONDS - time.monotonic())
            raise replies.refusal(replies.BAD_CREDENTIAL)
        return self._let_in(credential, peer)

    async def admit_certified(self, names: Sequence[str], username: str, peer: str) -> Credential:
        """Give the credential that a verified client certificate signs in (RFC 4422, appendix A).

        Args:
            names: the names in the certificate.
            username: whom the client wants to be, or empty.
            peer: the client's IP address.

        Raises:
            Refused: 535 5.7.8, there is none, it is somebody else, it has expired, or it may not be used from the
                peer's address; 454 4.7.0, too many wrong guesses.
            Unavailable: the database did not answer, and the certificate was never seen before.
        """
        _heed(await self._throttle.address_objection(peer, username))
        usable = [name.lower() for name in names if "\0" not in name]
        credential = await self._known.certified(usable) if usable else None
        if credential is None or username not in {"", credential.username}:
            self._throttle.failed(peer, username)
            await asyncio.sleep(REFUSAL_SECONDS)
            raise replies.refusal(replies.BAD_CREDENTIAL)
        return self._let_in(credential, peer)

    async def renew(self, credential: Credential, peer: str) -> Credential:
        """Give a session's credential as it is now; while the database is away, as it was last known.

        A session goes on when its credential expires, and when its secret is exchanged with an overlap.

        Raises:
            Refused: 550 5.7.1, it is revoked, its account is disabled, its secret is another at once, or it may no
                longer be used from the peer's address. The session ought to end.
        """
        self.used(credential)
        known = self._known.trusted(credential.username)
        if known:
            current: Credential | None = known.credential
        else:
            try:
                current = await self._known.ask(credential.username)
            except Unavailable:
                known = self._known.known(credential.username)
                current = known.credential if known else credential
        if current is credential:
            return credential
        if current is None or not current.continues(credential) or not current.from_here(peer):
            raise replies.refusal(NO_LONGER_VALID)
        return current

    async def _check(self, username: str, secret: str, peer: str) -> tuple[float, Credential | None]:
        """Give the credential if the secret is right; and when the check began, which is what its time is told by."""
        credential, fault = await self._look_up(username, secret)
        if credential and self._generated(credential, secret):
            return 0.0, credential
        # Whatever the user has, and whether there is one: the answer to a wrong secret must not tell.
        _heed(await self._throttle.username_objection(peer, username))
        if credential and self._recalled(credential, secret):
            return 0.0, credential
        checked = await self._compute(credential, secret)
        if credential and checked.right:
            return checked.began, credential
        if fault:
            # The secret may be a new one that the database alone knows.
            self._throttle.failed(peer, username)
            raise fault
        return checked.began, None

    async def _compute(self, credential: Credential | None, secret: str) -> Checked:
        """Check a password against the slow hashes of a user; who has none waits as long for a turn."""
        began = math.inf
        chosen = [each for each in self._secrets(credential) if isinstance(each, ChosenSecret)]
        for each in chosen or (None,):
            checked = await self._passwords.check(each.phc if each else None, secret)
            began = min(began, checked.began)
            if credential and each and checked.right:
                self._known.prove(credential, each, self._proof(credential, secret))
                return Checked(right=True, began=began)
        return Checked(right=False, began=began)

    async def _look_up(self, username: str, secret: str) -> tuple[Credential | None, Unavailable | None]:
        known = self._known.known(username)
        if known:
            credential = known.credential
            right = self._generated(credential, secret) or self._recalled(credential, secret)
            if right and self._known.trusted(username):
                return credential, None
        try:
            return await self._known.ask(username), None
        except Unavailable as fault:
            known = self._known.known(username)
            if known is None:
                raise
            return known.credential, fault

    def _secrets(self, credential: Credential | None) -> Iterator[Secret]:
        return credential.secrets(self.today()) if credential else iter(())

    def _generated(self, credential: Credential, secret: str) -> bool:
        return any(
            isinstance(each, GeneratedSecret) and each.admits(self._key, credential.username, secret)
            for each in self._secrets(credential)
        )

    def _recalled(self, credential: Credential, secret: str) -> bool:
        """Whether this chosen secret was checked before, against a hash that still is one of the user's."""
        known = self._known.known(credential.username)
        if known is None or not known.proofs:
            return False
        proof = self._proof(credential, secret)
        return any(hmac.compare_digest(known.proofs.get(each, b""), proof) for each in self._secrets(credential))

    def _proof(self, credential: Credential, secret: str) -> bytes:
        return secret_digest(self._proof_key, credential.username, secret)

    def _let_in(self, credential: Credential, peer: str) -> Credential:
        if not credential.from_here(peer):
            raise Refused(535, "5.7.8", f"This credential may not be used from {peer}")
        if credential.expires_at and credential.ended(self.today()):
            # Only who has the right secret is told so.
            raise Refused(535, "5.7.8", f"This credential expired at {credential.expires_at:%Y-%m-%dT%H:%M:%SZ}")
        self.used(credential)
        self._throttle.succeeded(peer, credential.username)
        return credential


def _text(login: LoginPassword) -> tuple[str, str]:
    """Give user name and secret; an empty name is nobody's."""
    try:
        username, secret = login.login.decode(), login.password.decode()
    except UnicodeDecodeError:
        return "", ""
    # PostgreSQL's text cannot hold a NUL, so nobody is called that.
    return ("", "") if "\0" in username else (username, secret)


def _heed(objection: Reply | None) -> None:
    if objection:
        raise replies.refusal(objection)


def _unnoted(_: Credential) -> None:
    """Where nobody keeps when credentials were used."""
