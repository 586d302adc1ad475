"""Keys of this API: what it is called with."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.keys import IssuedKey, NewKey
from mail.keys import OF_TENANTS, Scope
from web.api.caller import Caller, Calling
from web.api.made import locate
from web.api.models import Body, End, Given, Listed, Of, Rotation, Utc
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import Once, OnlyOnce
from web.house import House
from web.problems import Problem

Name = Annotated[str, Field(min_length=1, max_length=64)]


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


class Keys:
    """The keys of an account, or of operators."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        all_, read, write = "/keys", Scope.KEYS_READ, Scope.KEYS_WRITE
        table: tuple[Row, ...] = (
            ("GET", all_, read, self.listed, "List keys", 200, (404,)),
            ("POST", all_, write, self.create, "Make a key", 201, (404,)),
            ("POST", f"{all_}/{{prefix}}/rotate", write, self.rotate, "Exchange a key", 201, (404,)),
            ("DELETE", f"{all_}/{{prefix}}", write, self.revoke, "Revoke a key", 204, (404,)),
            ("POST", "/accounts/{name}/rotate-key", write, self.rotate_own, "Exchange the calling key", 201, (404,)),
        )
        add(app, "keys", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[KeyShown]:
        """The keys of an account, the oldest first; for an operator who names no account, those of operators."""
        async with self._house.office() as office:
            rows = await office.keys.of(_owner(caller, query), part(query, UUID))
        items = [KeyShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[KeyShown](items=items, next=following(query, rows, "id"))

    async def create(
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

    async def rotate(
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

    async def revoke(self, caller: Calling, prefix: str, query: Annotated[Of, Query()]) -> None:
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
