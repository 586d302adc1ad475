"""Providers: where mail goes out. An operator makes and changes them; a tenant sees which there are."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.office import Office
from backing.admin.providers import NewProvider, ProviderChange
from mail.keys import Scope
from web.api.caller import Caller, Calling
from web.api.etags import IfMatch, expect, tag
from web.api.models import AccountName, Body, Given, Listed, Of
from web.api.operations import Operation, Row, add
from web.house import House

Secret = Annotated[str, Field(min_length=1, max_length=4096)]


class ProviderNew(Body):
    """A provider to be made."""

    name: AccountName
    kind: Literal["smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox"]
    config: dict[str, Any] = Field(default={}, description="Its settings, without secrets.")
    secret: Secret | None = Field(None, repr=False, description="Sealed, and never shown again.")
    limits: dict[str, Any] = Field(default={}, examples=[{"rate": 14, "daily": 50_000}])
    allowed_domains: list[str] | None = Field(None, description="Sender domains it sends for; null is any.")


class ProviderPatch(Body):
    """What is to be changed; of settings and limits, keys that are not named stay, and null takes one away."""

    config: dict[str, Any] = Field(default={})
    limits: dict[str, Any] = Field(default={})
    allowed_domains: list[str] | None = None


class NewSecret(Body):
    """Another secret for a provider."""

    secret: Secret | None = Field(repr=False, description="Null takes it away.")


class ProviderSummary(Given):
    """A provider in a list."""

    name: str
    account: str | None = Field(description="Whose it is; null: every account may use it.")
    kind: str
    enabled: bool
    version: int
    secret: bool = Field(description="Whether it has one.")
    allowed_domains: list[str] | None


class ProviderDetail(ProviderSummary):
    """A provider."""

    id: str
    limits: dict[str, Any]
    config: dict[str, Any]


class Providers:
    """The providers of an account, or with an operator's key that names none, those that all share."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, all_, one = Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE, "/providers", "/providers/{name}"
        table: tuple[Row, ...] = (
            ("GET", all_, read, self.listed, "List providers", 200, (404,)),
            ("POST", all_, write, self.create, "Make a provider", 201, (404, 409)),
            ("GET", one, read, self.show, "Show a provider", 200, (404,)),
            ("PATCH", one, write, self.change, "Change a provider", 200, (404, 409, 412)),
            ("PUT", f"{one}/secret", write, self.set_secret, "Give it another secret", 204, (404,)),
            ("POST", f"{one}/enable", write, self.enable, "Let it be used", 200, (404,)),
            ("POST", f"{one}/disable", write, self.disable, "Let it be used no more", 200, (404,)),
            ("DELETE", one, write, self.delete, "Delete a provider", 204, (404, 409, 412)),
        )
        add(app, "providers", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[Of, Query()]) -> Listed[ProviderSummary]:
        """The providers that an account may use: its own, and shared ones."""
        async with self._house.office() as office:
            rows = await office.providers.all(owner_of(caller, query))
        return Listed[ProviderSummary](items=[ProviderSummary.model_validate(row) for row in rows], next=None)

    async def create(self, caller: Calling, query: Annotated[Of, Query()], body: ProviderNew) -> ProviderDetail:
        """Make a provider. A worker reads its settings in full when mail comes to it."""
        owner = owner_of(caller, query)
        domains = None if body.allowed_domains is None else tuple(body.allowed_domains)
        new = NewProvider(body.name, body.kind, body.config, body.secret, body.limits, domains)
        async with self._house.change(caller.deed("provider.create", body.name, owner)) as office:
            await office.providers.create(owner, new)
            return await _shown(office, owner, body.name)

    async def show(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response
    ) -> ProviderDetail:
        """All about a provider but its secret."""
        async with self._house.office() as office:
            shown = await _shown(office, owner_of(caller, query), name)
        tag(response, shown)
        return shown

    async def change(
        self,
        caller: Calling,
        name: str,
        query: Annotated[Of, Query()],
        body: ProviderPatch,
        response: Response,
        if_match: IfMatch = None,
    ) -> ProviderDetail:
        """Change a provider; workers build it anew."""
        owner, named = owner_of(caller, query), "allowed_domains" in body.model_fields_set
        domains = None if body.allowed_domains is None else tuple(body.allowed_domains)
        change = ProviderChange(
            config=body.config, limits=body.limits, allowed_domains=domains, any_domain=named and domains is None
        )
        async with self._house.change(caller.deed("provider.change", name, owner)) as office:
            expect(if_match, await _shown(office, owner, name))
            await office.providers.change(owner, name, change)
            shown = await _shown(office, owner, name)
        tag(response, shown)
        return shown

    async def set_secret(self, caller: Calling, name: str, query: Annotated[Of, Query()], body: NewSecret) -> None:
        """Give a provider another secret, or none."""
        owner = owner_of(caller, query)
        async with self._house.office(caller.deed("provider.secret", name, owner)) as office:
            await office.providers.set_secret(owner, name, body.secret)

    async def enable(self, caller: Calling, name: str, query: Annotated[Of, Query()]) -> ProviderDetail:
        """Let a provider be used."""
        return await self._switch(caller, owner_of(caller, query), name, on=True)

    async def disable(self, caller: Calling, name: str, query: Annotated[Of, Query()]) -> ProviderDetail:
        """Let a provider be used no more."""
        return await self._switch(caller, owner_of(caller, query), name, on=False)

    async def delete(self, caller: Calling, name: str, query: Annotated[Of, Query()], if_match: IfMatch = None) -> None:
        """Delete a provider that nothing needs."""
        owner = owner_of(caller, query)
        async with self._house.change(caller.deed("provider.delete", name, owner)) as office:
            expect(if_match, await _shown(office, owner, name))
            await office.providers.delete(owner, name)

    async def _switch(self, caller: Caller, owner: str | None, name: str, *, on: bool) -> ProviderDetail:
        action = "provider.enable" if on else "provider.disable"
        async with self._house.change(caller.deed(action, name, owner)) as office:
            await office.providers.switch(owner, name, enabled=on)
            return await _shown(office, owner, name)


def owner_of(caller: Caller, query: Of) -> str | None:
    """Give the account whose providers are meant; None are those that all share."""
    return None if caller.key.account is None and query.account is None else caller.account(query.account)


async def _shown(office: Office, owner: str | None, name: str) -> ProviderDetail:
    return ProviderDetail.model_validate(await office.providers.show(owner, name))
