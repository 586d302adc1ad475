"""Providers: where mail goes out. An operator makes and changes them; a tenant sees which there are."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.domains import MAX_DOMAINS
from backing.admin.office import Office
from backing.admin.providers import NewProvider, ProviderChange
from mail.keys import Scope
from web.api.caller import Caller, Calling
from web.api.etags import IfMatch, expect, tag
from web.api.made import locate
from web.api.models import AccountName, Body, Document, Given, Listed, Of
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import OnlyOnce
from web.house import House

Domains = Annotated[list[Annotated[str, Field(max_length=255)]], Field(max_length=MAX_DOMAINS)]
Secret = Annotated[str, Field(min_length=1, max_length=4096)]


class ProviderNew(Body):
    """A provider to be made."""

    name: AccountName
    kind: Literal["smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox"]
    config: dict[str, Any] = Field(default={}, description="Its settings, without secrets.")
    secret: Secret | None = Field(None, repr=False, description="Sealed, and never shown again.")
    limits: dict[str, Any] = Field(default={}, examples=[{"rate": 14, "daily": 50_000}])
    allowed_domains: Domains | None = Field(None, description="Sender domains it sends for; null is any.")


class ProviderPatch(Body):
    """What is to be changed; of settings and limits, keys that are not named stay, and null takes one away."""

    config: dict[str, Any] = Field(default={})
    limits: dict[str, Any] = Field(default={})
    allowed_domains: Domains | None = None


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
    limits: Document
    config: Document
    secret_sealed_at: str | None = Field(
        description="When its secret was sealed; null: it has none, or it was before that was written down."
    )
    secret_key: str | None = Field(description="KMS key under which it is sealed.")


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
            ("POST", f"{one}/enable", write, self.enable, "Let it be used", 200, (404, 412)),
            ("POST", f"{one}/disable", write, self.disable, "Let it be used no more", 200, (404, 412)),
            ("DELETE", one, write, self.delete, "Delete a provider", 204, (404, 409, 412)),
        )
        add(app, "providers", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[ProviderSummary]:
        """The providers that an account may use: shared ones, and its own, each by name."""
        async with self._house.office() as office:
            rows = await office.providers.all(owner_of(caller, query), part(query, str, str))
        items = [ProviderSummary.model_validate(row) for row in rows[: query.limit]]
        return Listed[ProviderSummary](items=items, next=following(query, rows, "account", "name"))

    async def create(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: ProviderNew, response: Response
    ) -> ProviderDetail:
        """Make a provider. A worker reads its settings in full when mail comes to it."""
        owner = owner_of(caller, query)
        domains = None if body.allowed_domains is None else tuple(body.allowed_domains)
        new = NewProvider(body.name, body.kind, body.config, body.secret, body.limits, domains)
        async with once.change(self._house, caller.deed("provider.create", body.name, owner)) as office:
            await office.providers.create(owner, new)
            place = locate(response, "/providers", body.name, query.account)
            return once.made(await _shown(office, owner, body.name), place)

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

    async def enable(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response, if_match: IfMatch = None
    ) -> ProviderDetail:
        """Let a provider be used."""
        owner = owner_of(caller, query)
        async with self._house.change(caller.deed("provider.enable", name, owner)) as office:
            expect(if_match, await _shown(office, owner, name))
            await office.providers.switch(owner, name, enabled=True)
            shown = await _shown(office, owner, name)
        tag(response, shown)
        return shown

    async def disable(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response, if_match: IfMatch = None
    ) -> ProviderDetail:
        """Let a provider be used no more."""
        owner = owner_of(caller, query)
        async with self._house.change(caller.deed("provider.disable", name, owner)) as office:
            expect(if_match, await _shown(office, owner, name))
            await office.providers.switch(owner, name, enabled=False)
            shown = await _shown(office, owner, name)
        tag(response, shown)
        return shown

    async def delete(self, caller: Calling, name: str, query: Annotated[Of, Query()], if_match: IfMatch = None) -> None:
        """Delete a provider that nothing needs."""
        owner = owner_of(caller, query)
        async with self._house.change(caller.deed("provider.delete", name, owner)) as office:
            expect(if_match, await _shown(office, owner, name))
            await office.providers.delete(owner, name)


def owner_of(caller: Caller, query: Of) -> str | None:
    """Give the account whose providers are meant; None are those that all share."""
    return None if caller.key.account is None and query.account is None else caller.account(query.account)


async def _shown(office: Office, owner: str | None, name: str) -> ProviderDetail:
    return ProviderDetail.model_validate(await office.providers.show(owner, name))
