"""Credentials that were asked for before: trusted for a while, and for as long as the database is away."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

from mail.accounts import Credential, Secret
from mail.errors import Unavailable

# How long a database that did not answer is left alone, as far as known credentials go.
ASK_AGAIN_SECONDS: Final = 5.0
MAX_KNOWN: Final = 10_000


class Accounts(Protocol):
    """Where credentials are kept. Both methods raise `Unavailable` when nothing is known about a credential."""

    async def __call__(self, username: str, /) -> Credential | None:
        """Give the credential that signs in under a name."""

    async def certified(self, names: Sequence[str], /) -> Credential | None:
        """Give the credential that one of these names in a client certificate signs in."""


@dataclass(slots=True)
class Known:
    """A credential as the database last had it.

    Attributes:
        proofs: for each of its chosen secrets that was found right, a digest of what was given.
    """

    credential: Credential
    fresh_until: float
    proofs: dict[Secret, bytes] = field(default_factory=dict)


class KnownCredentials:
    """Asks for credentials as seldom as it may.

    Args:
        accounts: where credentials are kept.
        trust_seconds: age below which a known credential is trusted without asking.
        clock: seconds that only ever grow.
    """

    def __init__(self, accounts: Accounts, trust_seconds: float, clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._trust_seconds = trust_seconds
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._certified: dict[str, str] = {}
        self._asked: dict[str, asyncio.Future[tuple[bool, Credential | None]]] = {}
        self._ask_at = 0.0
        self._notices = 0

    def known(self, username: str) -> Known | None:
        """Give what was last known, however old."""
        return self._known.get(username)

    def fresh(self, credential: Credential | None) -> bool:
        """Whether this very credential is what the database last had, and not long ago."""
        known = self._known.get(credential.username) if credential else None
        return known is not None and known.credential is credential and self._clock() < known.fresh_until

    def trusted(self, username: str) -> Known | None:
        """Give what may be relied upon without asking."""
        known = self._known.get(username)
        if known is None:
            return None
        now = self._clock()
        if now < known.fresh_until or now < self._ask_at:
            return known
        if self._ask_at:
            # The database was away: this caller finds out whether it still is, the others do not wait for it.
            self._ask_at = now + ASK_AGAIN_SECONDS
        return None

    async def ask(self, username: str) -> Credential | None:
        """Ask the database; whoever asks for the same at the same time shares the answer.

        Raises:
            Unavailable: it did not answer.
        """
        while shared := self._asked.get(username):
            answered, credential = await asyncio.shield(shared)
            if answered:
                return credential
        return await self._ask(username)

    async def certified(self, names: Sequence[str]) -> Credential | None:
        """Give the credential that one of these certificate names signs in.

        Raises:
            Unavailable: the database did not answer, and none of them was seen before.
        """
        for name in names:
            known = self.trusted(self._certified.get(name, ""))
            if known:
                return known.credential
        notices = self._notices
        try:
            credential = await self._accounts.certified(names)
        except Unavailable:
            self._ask_at = self._clock() + ASK_AGAIN_SECONDS
            for known in (self._known.get(self._certified.get(name, "")) for name in names):
                if known:
                    return known.credential
            raise
        self._ask_at = 0.0
        if credential:
            self._put(credential.username, credential, current=notices == self._notices)
        return credential

    def prove(self, credential: Credential, secret: Secret, proof: bytes) -> None:
        """Remember that what was given is a chosen secret of a credential."""
        known = self._known.get(credential.username)
        if known and secret in _secrets(known.credential):
            known.proofs[secret] = proof

    def forget(self, username: str) -> None:
        """Ask for a credential when it is needed next: it may have changed."""
        self._outdate([self._known[username]] if username in self._known else [])

    def forget_account(self, account_id: UUID) -> None:
        """Ask for the credentials of an account when they are needed next."""
        self._outdate([known for known in self._known.values() if known.credential.account.id == account_id])

    def forget_all(self) -> None:
        """Ask for every credential when it is needed next: notices may have been missed."""
        self._outdate(list(self._known.values()))

    def _outdate(self, several: list[Known]) -> None:
        # An answer that is on its way may be older than the change.
        self._notices += 1
        for known in several:
            known.fresh_until = 0.0

    async def _ask(self, username: str) -> Credential | None:
        shared = self._asked[username] = asyncio.get_running_loop().create_future()
        notices = self._notices
        try:
            credential = await self._accounts(username)
        except Unavailable as fault:
            self._ask_at = self._clock() + ASK_AGAIN_SECONDS
            shared.set_exception(fault)
            # Nobody may have waited for it.
            shared.exception()
            raise
        except BaseException:
            # This caller goes away; one of those who wait asks in its place.
            shared.set_result((False, None))
            raise
        finally:
            del self._asked[username]
        self._ask_at = 0.0
        credential = self._put(username, credential, current=notices == self._notices)
        shared.set_result((True, credential))
        return credential

    def _put(self, username: str, credential: Credential | None, *, current: bool) -> Credential | None:
        old = self._known.pop(username, None)
        if old and old.credential.certificate_name:
            self._certified.pop(old.credential.certificate_name, None)
        if credential is None:
            return None
        if old and old.credential == credential:
            # The same object stays: who holds it sees at a glance that nothing has changed.
            credential = old.credential
        if len(self._known) >= MAX_KNOWN:
            self._put(next(iter(self._known)), None, current=False)
        if credential.certificate_name:
            self._certified[credential.certificate_name] = username
        kept = _secrets(credential)
        proofs = {secret: proof for secret, proof in old.proofs.items() if secret in kept} if old else {}
        fresh_until = self._clock() + self._trust_seconds if current else 0.0
        self._known[username] = Known(credential, fresh_until, proofs)
        return credential


def _secrets(credential: Credential) -> set[Secret | None]:
    return {credential.secret, *(each.secret for each in credential.former)}
