"""Accounts: an operator makes and changes them, a tenant looks at its own."""

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query
from pydantic import Field
from starlette.responses import Response

from backing.admin.accounts import NewAccount, Options
from backing.admin.office import Office
from backing.admin.providers import NewProvider
from mail.accounts import Quota, Unit, Window
from mail.delivery import OnUnknown
from mail.keys import Scope
from web.api.caller import Calling
from web.api.etags import IfMatch, expect, tag
from web.api.made import locate
from web.api.models import AccountName, Body, Given, Listed
from web.api.operations import Operation, Row, add
from web.api.pages import Sliced, following, part
from web.api.repeats import OnlyOnce
from web.house import House

Limit = Annotated[int, Field(ge=1, le=2**31 - 1)]
_DELIVERY = ("retry_seconds", "expiry_seconds", "send_dsn", "delay_notice_seconds", "retention_days", "archive")
_MOST_QUOTA = 2**53


class AccountOptions(Body):
    """What an account may do, and how its mail is delivered; what is not named stays, and null takes a limit away."""

    on_unknown: Annotated[OnUnknown, Field(strict=False)] | None = None
    check_from: bool | None = None
    repair_line_ends: bool | None = None
    max_sessions: Annotated[int, Field(ge=1, le=10_000)] | None = None
    quotas: dict[Window, dict[Unit, Annotated[int, Field(ge=1, le=_MOST_QUOTA)] | None]] = Field(
        default={}, examples=[{"day": {"messages": 10_000}}], description="Null takes a quota away."
    )
    retry_seconds: (
        Annotated[list[Annotated[int, Field(ge=1, le=86_400)]], Field(min_length=1, max_length=100)] | None
    ) = None
    expiry_seconds: Annotated[int, Field(ge=300, le=432_000)] | None = None
    send_dsn: bool | None = None
    delay_notice_seconds: Limit | None = None
    retention_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    archive: bool | None = None

    def options(self, domains: list[str] | None) -> Options:
        """The same for the service."""
        named = self.model_fields_set
        quotas = [(window, unit, limit) for window, units in self.quotas.items() for unit, limit in units.items()]
        return Options(
            allowed_domains=None if domains is None else tuple(domains),
            on_unknown=self.on_unknown,
            check_from=self.check_from,
            repair_line_ends=self.repair_line_ends,
            max_sessions=self.max_sessions,
            no_max_sessions="max_sessions" in named and self.max_sessions is None,
            quotas=tuple(Quota(window, unit, limit) for window, unit, limit in quotas if limit is not None),
            no_quotas=tuple((window, unit) for window, unit, limit in quotas if limit is None),
            delivery={
                name: getattr(self, name)
                for name in _DELIVERY
                # These two are yes or no, and have no limit to take away.
                if name in named and not (name in {"send_dsn", "archive"} and getattr(self, name) is None)
            },
        )


class AccountChange(AccountOptions):
    """What is to be changed about an account."""

    allowed_domains: Annotated[list[str], Field(min_length=1, max_length=1000)] | None = None
    provider: Annotated[str, Field(max_length=63)] | None = Field(None, description="Name of its default provider.")


class OwnProvider(Body):
    """A provider that is made with its account, and for it alone."""

    kind: Literal["smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox"]
    config: dict[str, Any] = Field(default={})
    secret: str | None = Field(None, max_length=4096, repr=False, description="Never shown again.")


class AccountNew(AccountOptions):
    """An account to be made."""

    name: AccountName
    allowed_domains: list[str] = Field(min_length=1, max_length=1000, examples=[["shop.example"]])
    provider: str | OwnProvider = Field(description="Name of a shared provider, or one of its own.")
    username: Annotated[str, Field(max_length=128)] | None = Field(None, description="Of its first SMTP credential.")

    def new(self) -> NewAccount:
        """The same for the service."""
        own = self.provider
        provider = own if isinstance(own, str) else NewProvider(own.kind, own.kind, own.config, own.secret)
        return NewAccount(self.name, self.options(self.allowed_domains), provider, self.username)


class AccountSummary(Given):
    """An account in a list."""

    name: str
    allowed_domains: list[str]
    provider: str | None
    disabled: bool
    credentials: int


class AccountDetail(Given):
    """An account; null limits are the product's own."""

    counted = frozenset({"rules", "credentials", "suppressed"})

    name: str
    id: str
    disabled: bool
    allowed_domains: list[str]
    provider: str | None
    on_unknown: str
    check_from: bool
    repair_line_ends: bool
    max_sessions: int | None
    quotas: dict[str, dict[str, int]]
    retry_seconds: list[int] | None
    expiry_seconds: int | None
    send_dsn: bool
    delay_notice_seconds: int | None
    retention_days: int | None
    archive: bool
    rules: int
    credentials: int
    suppressed: int


class AccountMade(Given):
    """An account that was made, and its first SMTP credential."""

    account: AccountDetail
    username: str
    password: str = Field(description="Shown only now; only its digest is kept.")


class AccountDeleted(Given):
    """What went with an account; its messages stay on record."""

    credentials: int
    providers: int
    routing_rules: int
    suppressed: int


class Accounts:
    """The accounts."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, one = Scope.ACCOUNTS_READ, Scope.ACCOUNTS_WRITE, "/accounts/{name}"
        table: tuple[Row, ...] = (
            ("GET", "/accounts", read, self.listed, "List accounts", 200, ()),
            ("POST", "/accounts", write, self.create, "Make an account", 201, (404, 409)),
            ("GET", one, read, self.show, "Show an account", 200, (404,)),
            ("PATCH", one, write, self.change, "Change an account", 200, (404, 409, 412)),
            ("DELETE", one, write, self.delete, "Delete a disabled account", 200, (404, 409, 412)),
            ("POST", f"{one}/disable", write, self.disable, "Let it sign in no more", 200, (404, 412)),
            ("POST", f"{one}/enable", write, self.enable, "Let it sign in again", 200, (404, 412)),
        )
        add(app, "accounts", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[Sliced, Query()]) -> Listed[AccountSummary]:
        """All accounts by name; with a tenant's key, its own."""
        async with self._house.office() as office:
            rows = await office.accounts.all(caller.key.account, part(query, str))
        items = [AccountSummary.model_validate(row) for row in rows[: query.limit]]
        return Listed[AccountSummary](items=items, next=following(query, rows, "name"))

    async def create(self, caller: Calling, once: OnlyOnce, body: AccountNew, response: Response) -> AccountMade:
        """Make an account with its first SMTP credential and its default provider."""
        async with once.change(self._house, caller.deed("account.create", body.name, body.name)) as office:
            issued = await office.accounts.create(body.new())
            shown = await _shown(office, body.name)
            made = AccountMade(account=shown, username=issued.username, password=issued.secret or "")
            once.secret(f"account {body.name} with the credential {issued.username}", made)
        locate(response, "/accounts", body.name)
        return made

    async def show(self, caller: Calling, name: str, response: Response) -> AccountDetail:
        """All about an account but its credentials and mail."""
        async with self._house.office() as office:
            shown = await _shown(office, caller.account(name))
        tag(response, shown)
        return shown

    async def change(
        self, caller: Calling, name: str, body: AccountChange, response: Response, if_match: IfMatch = None
    ) -> AccountDetail:
        """Change what an account may do, and how its mail is delivered."""
        async with self._house.change(caller.deed("account.change", name, name)) as office:
            expect(if_match, await _shown(office, name))
            await office.accounts.change(name, body.options(body.allowed_domains))
            if body.provider is not None:
                await office.accounts.set_provider(name, body.provider)
            shown = await _shown(office, name)
        tag(response, shown)
        return shown

    async def delete(self, caller: Calling, name: str, if_match: IfMatch = None) -> AccountDeleted:
        """Delete a disabled account with all it has; its messages stay on record."""
        async with self._house.change(caller.deed("account.delete", name, name)) as office:
            expect(if_match, await _shown(office, name))
            gone = await office.accounts.delete(name)
        return AccountDeleted.model_validate(gone)

    async def disable(self, caller: Calling, name: str, response: Response, if_match: IfMatch = None) -> AccountDetail:
        """Let an account sign in no more, neither over SMTP nor here; what it sent is still delivered."""
        async with self._house.change(caller.deed("account.disable", name, name)) as office:
            expect(if_match, await _shown(office, name))
            await office.accounts.disable(name)
            shown = await _shown(office, name)
        tag(response, shown)
        return shown

    async def enable(self, caller: Calling, name: str, response: Response, if_match: IfMatch = None) -> AccountDetail:
        """Let a disabled account sign in again."""
        async with self._house.change(caller.deed("account.enable", name, name)) as office:
            expect(if_match, await _shown(office, name))
            await office.accounts.enable(name)
            shown = await _shown(office, name)
        tag(response, shown)
        return shown


async def _shown(office: Office, name: str) -> AccountDetail:
    return AccountDetail.model_validate(await office.accounts.show(name))
