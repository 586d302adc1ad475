"""What an account signs in with: SMTP credentials, and keys of this API."""

from collections.abc import Collection
from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import AfterValidator, Field

from backing.admin.credentials import NewCredential
from backing.admin.keys import IssuedKey, NewKey
from mail.keys import OF_TENANTS, Scope
from web.api.caller import Caller, Calling
from web.api.models import Body, Given, Listed, Moment, Of, Utc
from web.api.operations import Operation, Row, add
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


class CredentialShown(Given):
    """An SMTP credential, without its secret."""

    username: str
    password: str = Field(description="generated, chosen, or none.")
    networks: list[str]
    certificate_name: str | None
    revoked: bool
    created: str


class CredentialMade(Given):
    """An SMTP credential that was made."""

    username: str
    password: str = Field(description="Shown only now; only its digest is kept.")


class KeyNew(Body):
    """A key to be made. It can do no more than the key that makes it."""

    name: Name
    scopes: list[Annotated[Scope, Field(strict=False)]] = Field(
        default=[], description="None is all that the calling key may hand on."
    )
    rate_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] | None = Field(None, description="For operators to say.")
    expires_at: Moment | None = None


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

    async def credentials(self, caller: Calling, query: Annotated[Of, Query()]) -> Listed[CredentialShown]:
        """The SMTP credentials of an account, by name; revoked ones, too."""
        async with self._house.office() as office:
            rows = await office.credentials.of(caller.account(query.account))
        return Listed[CredentialShown](items=[CredentialShown.model_validate(row) for row in rows], next=None)

    async def create_credential(
        self, caller: Calling, query: Annotated[Of, Query()], body: CredentialNew
    ) -> CredentialMade:
        """Give an account another SMTP credential."""
        account, new = (
            caller.account(query.account),
            NewCredential(body.username, networks=tuple(map(ip_network, body.networks))),
        )
        async with self._house.office(caller.deed("credential.create", body.username or "", account)) as office:
            made = await office.credentials.create(account, new)
        return CredentialMade(username=made.username, password=made.secret or "")

    async def revoke_credential(self, caller: Calling, username: str, query: Annotated[Of, Query()]) -> None:
        """Let an SMTP credential sign in no more."""
        account = caller.account(query.account)
        async with self._house.office(caller.deed("credential.revoke", username, account)) as office:
            await office.credentials.revoke(username, account)

    async def keys(self, caller: Calling, query: Annotated[Of, Query()]) -> Listed[KeyShown]:
        """The keys of an account, the oldest first; for an operator who names no account, those of operators."""
        async with self._house.office() as office:
            rows = await office.keys.of(_owner(caller, query))
        return Listed[KeyShown](items=[KeyShown.model_validate(row) for row in rows], next=None)

    async def create_key(self, caller: Calling, query: Annotated[Of, Query()], body: KeyNew) -> KeyMade:
        """Make a key: of an account, or with an operator's key that names no account, of operators."""
        owner = _owner(caller, query)
        if body.rate_per_minute is not None and caller.key.account is not None:
            raise Problem(403, "the rate of a key is for an operator to say")
        possible = caller.key.scopes & (frozenset(Scope) if owner is None else OF_TENANTS)
        _grant(caller, body.scopes)
        new = NewKey(body.name, sorted(body.scopes or possible), body.rate_per_minute, body.expires_at)
        async with self._house.office(caller.deed("key.create", body.name, owner)) as office:
            return _made(await office.keys.create(owner, new))

    async def rotate_key(
        self, caller: Calling, prefix: str, query: Annotated[Of, Query()], body: Rotation | None = None
    ) -> KeyMade:
        """Make a key that takes the place of another; for a while both are good."""
        return await self._rotate(caller, _owner(caller, query), prefix, body)

    async def rotate_own(self, caller: Calling, name: str, body: Rotation | None = None) -> KeyMade:
        """Make a key that takes the place of the calling one."""
        if caller.key.account is None:
            raise Problem(422, "an operator's key is of no account; use /keys/{prefix}/rotate")
        return await self._rotate(caller, caller.account(name), caller.key.prefix, body)

    async def revoke_key(self, caller: Calling, prefix: str, query: Annotated[Of, Query()]) -> None:
        """Let a key be used no more; processes that know it forget it within seconds."""
        owner = _owner(caller, query)
        async with self._house.office(caller.deed("key.revoke", prefix, owner)) as office:
            await office.keys.revoke(owner, prefix)

    async def _rotate(self, caller: Caller, owner: str | None, prefix: str, body: Rotation | None) -> KeyMade:
        overlap = timedelta(hours=(body or Rotation()).overlap_hours)
        async with self._house.change(caller.deed("key.rotate", prefix, owner)) as office:
            _grant(caller, await office.keys.scopes(owner, prefix))
            return _made(await office.keys.rotate(owner, prefix, overlap))


def _owner(caller: Caller, query: Of) -> str | None:
    """Whose keys are meant; None are operators', which only an operator can mean."""
    return None if caller.key.account is None and query.account is None else caller.account(query.account)


def _grant(caller: Caller, scopes: Collection[Any]) -> None:
    """Refuse to hand out more than one has."""
    missing = sorted(set(scopes) - caller.key.scopes)
    if missing:
        raise Problem(403, f"the calling key has not got the scopes {', '.join(missing)} itself")


def _made(key: IssuedKey) -> KeyMade:
    return KeyMade(prefix=key.prefix, key=key.token)
