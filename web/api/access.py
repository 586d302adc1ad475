"""What an account signs in with: SMTP credentials, and keys of this API."""

from collections.abc import Collection
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import AfterValidator, Field
from starlette.responses import Response

from backing.admin.credentials import IssuedCredential, NewCredential
from backing.admin.keys import IssuedKey, NewKey
from mail.keys import OF_TENANTS, Scope
from web.api.caller import Caller, Calling
from web.api.made import locate
from web.api.models import Body, End, Given, Listed, Of, Utc
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import Once, OnlyOnce
from web.house import House
from web.problems import Problem


def _network(text: str) -> str:
    return str(ip_network(text))


NetworkText = Annotated[str, Field(max_length=50, examples=["192.0.2.0/24"]), AfterValidator(_network)]
Name = Annotated[str, Field(min_length=1, max_length=64)]


class CredentialNew(Body):
    """An SMTP credential to be made; its password is made, too."""

    username: Annotated[str, Field(max_length=128)] | None = Field(None, description="Else made of the account's name.")
    networks: list[NetworkText] = Field(
        default=[], max_length=100, description="Where it may be used from; none: anywhere."
    )
    certificate_name: Annotated[str, Field(pattern=r"^\S(.*\S)?$", max_length=320)] | None = Field(
        None,
        description="Name in a client certificate that signs in as it. For operators to say: it is of all accounts.",
        examples=["scanner.shop.example"],
    )
    expires_at: End | None = Field(None, description="When it signs in no more; open sessions go on.")


class CredentialShown(Given):
    """An SMTP credential, without its secret."""

    username: str
    password: str = Field(description="generated, chosen, or none.")
    networks: list[str]
    certificate_name: str | None
    revoked: bool
    expired: bool
    created: Utc
    expires_at: Utc | None = Field(description="When it signs in no more; null is never.")
    last_used_at: Utc | None = Field(description="To the minute, and some minutes late.")
    rotating_until: Utc | None = Field(description="Until when passwords of before are good as well.")


class CredentialMade(Given):
    """An SMTP credential that was made, or has another password."""

    username: str
    password: str = Field(description="Shown only now; only its digest is kept.")


class KeyNew(Body):
    """A key to be made. It can do no more than the key that makes it, and ends no later."""

    name: Name
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        default=[], max_length=100, description="None is all that the calling key may hand on."
    )
    rate_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="For operators to say.")
    expires_at: End | None = Field(None, description="Null is for ever, or when the calling key ends.")


class KeyShown(Given):
    """A key, without its secret."""

    prefix: str
    name: str
    scopes: list[str]
    rate_per_minute: int | None
    created_at: Utc
    expires_at: Utc | None
    last_used_at: Utc | None
    revoked_at: Utc | None


class KeyMade(Given):
    """A key that was made."""

    prefix: str
    key: str = Field(description="Shown only now; only its digest is kept.")


class Rotation(Body):
    """How a key is exchanged."""

    overlap_hours: int = Field(default=24, ge=0, le=720, description="How long the old one is good still.")


class Access:
    """Credentials and keys."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        smtp, keys = "/credentials", "/keys"
        read, write = Scope.KEYS_READ, Scope.KEYS_WRITE
        credentials: tuple[Row, ...] = (
            ("GET", smtp, Scope.CREDENTIALS_READ, self.credentials, "List SMTP credentials", 200, (404,)),
            ("POST", smtp, Scope.CREDENTIALS_WRITE, self.create_credential, "Make a credential", 201, (404, 409)),
            (
                "POST",
                f"{smtp}/{{username}}/rotate",
                Scope.CREDENTIALS_WRITE,
                self.rotate_credential,
                "Exchange a password",
                201,
                (404, 409),
            ),
            ("DELETE", f"{smtp}/{{username}}", Scope.CREDENTIALS_WRITE, self.revoke_credential, "Revoke", 204, (404,)),
        )
        table: tuple[Row, ...] = (
            ("GET", keys, read, self.keys, "List keys", 200, (404,)),
            ("POST", keys, write, self.create_key, "Make a key", 201, (404,)),
            ("POST", f"{keys}/{{prefix}}/rotate", write, self.rotate_key, "Exchange a key", 201, (404,)),
            ("DELETE", f"{keys}/{{prefix}}", write, self.revoke_key, "Revoke a key", 204, (404,)),
            ("POST", "/accounts/{name}/rotate-key", write, self.rotate_own, "Exchange the calling key", 201, (404,)),
        )
        add(app, "credentials", map(Operation.of, credentials))
        add(app, "keys", map(Operation.of, table))

    async def credentials(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[CredentialShown]:
        """The SMTP credentials of an account, by name; revoked ones, too."""
        async with self._house.office() as office:
            rows = await office.credentials.of(caller.account(query.account), part(query, str))
        items = [CredentialShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[CredentialShown](items=items, next=following(query, rows, "username"))

    async def create_credential(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: CredentialNew, response: Response
    ) -> CredentialMade:
        """Give an account another SMTP credential."""
        account = caller.account(query.account)
        if body.certificate_name is not None and caller.key.account is not None:
            raise Problem(403, "which certificate signs in is for an operator to say")
        new = NewCredential(
            username=body.username,
            networks=tuple(map(ip_network, body.networks)),
            certificate_name=body.certificate_name,
            expires_at=body.expires_at,
        )
        async with once.change(self._house, caller.deed("credential.create", body.username or "", account)) as office:
            made = await office.credentials.create(account, new)
            shown = _password(once, made)
        locate(response, "/credentials", made.username, query.account)
        return shown

    async def rotate_credential(
        self,
        caller: Calling,
        once: OnlyOnce,
        username: str,
        query: Annotated[Of, Query()],
        body: Rotation | None = None,
    ) -> CredentialMade:
        """Give an SMTP credential another password; for a while the one before is good as well.

        Applications can be changed one after the other, under the same user name. Without an overlap the passwords of
        before are good no more at once, and sessions that signed in with them end at their next message.
        """
        account, overlap = caller.account(query.account), timedelta(hours=(body or Rotation()).overlap_hours)
        async with once.change(self._house, caller.deed("credential.rotate", username, account)) as office:
            return _password(once, await office.credentials.rotate(username, account, overlap))

    async def revoke_credential(self, caller: Calling, username: str, query: Annotated[Of, Query()]) -> None:
        """Let an SMTP credential sign in no more."""
        account = caller.account(query.account)
        async with self._house.office(caller.deed("credential.revoke", username, account)) as office:
            await office.credentials.revoke(username, account)

    async def keys(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[KeyShown]:
        """The keys of an account, the oldest first; for an operator who names no account, those of operators."""
        async with self._house.office() as office:
            rows = await office.keys.of(_owner(caller, query), part(query, UUID))
        items = [KeyShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[KeyShown](items=items, next=following(query, rows, "id"))

    async def create_key(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: KeyNew, response: Response
    ) -> KeyMade:
        """Make a key: of an account, or with an operator's key that names no account, of operators."""
        owner = _owner(caller, query)
        if body.rate_per_minute is not None and caller.key.account is not None:
            raise Problem(403, "the rate of a key is for an operator to say")
        possible = caller.key.scopes & (frozenset(Scope) if owner is None else OF_TENANTS)
        _grant(caller, body.scopes)
        end = body.expires_at or caller.key.expires_at
        _outlive(caller, end)
        new = NewKey(body.name, sorted(body.scopes or possible), body.rate_per_minute, end)
        async with once.change(self._house, caller.deed("key.create", body.name, owner)) as office:
            shown = _made(once, await office.keys.create(owner, new))
        locate(response, "/keys", shown.prefix, query.account)
        return shown

    async def rotate_key(
        self,
        caller: Calling,
        once: OnlyOnce,
        prefix: str,
        query: Annotated[Of, Query()],
        response: Response,
        body: Rotation | None = None,
    ) -> KeyMade:
        """Make a key that takes the place of another, and ends when that would have; for a while both are good."""
        shown = await self._rotate(caller, once, _owner(caller, query), prefix, body)
        locate(response, "/keys", shown.prefix, query.account)
        return shown

    async def rotate_own(
        self, caller: Calling, once: OnlyOnce, name: str, response: Response, body: Rotation | None = None
    ) -> KeyMade:
        """Make a key that takes the place of the calling one, and ends when that would have."""
        if caller.key.account is None:
            raise Problem(422, "an operator's key is of no account; use /keys/{prefix}/rotate")
        shown = await self._rotate(caller, once, caller.account(name), caller.key.prefix, body)
        locate(response, "/keys", shown.prefix)
        return shown

    async def revoke_key(self, caller: Calling, prefix: str, query: Annotated[Of, Query()]) -> None:
        """Let a key be used no more; processes that know it forget it within seconds."""
        owner = _owner(caller, query)
        async with self._house.office(caller.deed("key.revoke", prefix, owner)) as office:
            await office.keys.revoke(owner, prefix)

    async def _rotate(
        self, caller: Caller, once: Once, owner: str | None, prefix: str, body: Rotation | None
    ) -> KeyMade:
        overlap = timedelta(hours=(body or Rotation()).overlap_hours)
        async with once.change(self._house, caller.deed("key.rotate", prefix, owner)) as office:
            terms = await office.keys.terms(owner, prefix)
            _grant(caller, terms.scopes)
            _outlive(caller, terms.expires_at)
            return _made(once, await office.keys.rotate(owner, prefix, overlap))


def _owner(caller: Caller, query: Of) -> str | None:
    """Whose keys are meant; None are operators', which only an operator can mean."""
    return None if caller.key.account is None and query.account is None else caller.account(query.account)


def _grant(caller: Caller, scopes: Collection[Any]) -> None:
    """Refuse to hand out more than one has."""
    missing = sorted(set(scopes) - caller.key.scopes)
    if missing:
        raise Problem(403, f"the calling key has not got the scopes {', '.join(missing)} itself")


def _outlive(caller: Caller, end: datetime | None) -> None:
    """Refuse to hand out what is good longer than the calling key; it would never end by handing itself on."""
    own = caller.key.expires_at
    if own is not None and (end is None or end > own):
        raise Problem(403, f"the calling key ends at {own.isoformat()}, and hands out none that ends later")


def _made(once: Once, key: IssuedKey) -> KeyMade:
    return once.secret(f"key {key.prefix}", KeyMade(prefix=key.prefix, key=key.token))


def _password(once: Once, made: IssuedCredential) -> CredentialMade:
    shown = CredentialMade(username=made.username, password=made.secret or "")
    return once.secret(f"a password of credential {made.username}", shown)
