"""Secrets of providers, and what workers are asked about them: to test a provider, and to seal secrets anew."""

from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import FastAPI, Query
from pydantic import Field, model_validator
from starlette.responses import Response

from backing.admin.office import Office
from mail.inquiries import InquiryState
from mail.keys import Scope
from web.api.caller import Calling
from web.api.etags import IfMatch, expect, tag
from web.api.made import locate
from web.api.models import Body, Given, Of, Utc
from web.api.operations import Operation, Row, add
from web.api.providers import Secret, owner_of
from web.api.suppressions import Counted
from web.house import House

_Address = Annotated[str | None, Field(max_length=320)]


class TestWanted(Body):
    """What a test is to send; without addresses, nothing."""

    to: _Address = Field(None, description="Who gets a small mail through this provider alone; null: nobody.")
    from_: _Address = Field(None, alias="from", description="Its sender, which the provider and its account may use.")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.to is None) != (self.from_ is None):
            raise ValueError("a mail needs both: from and to")
        return self

    def mail(self) -> dict[str, str]:
        """The addresses, if there are any."""
        return {"from": self.from_, "to": self.to} if self.from_ is not None and self.to is not None else {}


class StepShown(Given):
    """A step of a test."""

    step: str = Field(examples=["sign-in"])
    ok: bool
    seconds: float
    words: str = Field(description="What was found, or why it failed.")


class FateShown(Given):
    """What the provider said of the recipient of a test mail."""

    address: str
    outcome: str
    code: int | None
    enhanced: str | None
    words: str


class TestShown(Given):
    """A test of a provider."""

    id: UUID
    provider: str
    state: InquiryState = Field(
        description="waiting and taken: there is no answer yet. done: mail goes through. failed: it does not. unknown: "
        "a mail may have been sent."
    )
    asked_at: Utc
    asked_by: str
    answered_at: Utc | None
    sender: str | None = Field(description="Of the mail that it sends; null: none.")
    recipient: str | None
    words: str | None = Field(description="What came of it, and what to do.")
    seconds: float | None = Field(description="How long it took.")
    steps: list[StepShown] = Field(description="What was tried, in order; the last one may have failed.")
    recipients: list[FateShown] = Field(description="What became of the mail, if one was sent.")


class ResealShown(Given):
    """What came of the latest wish to seal a secret anew."""

    state: InquiryState
    asked_at: Utc
    answered_at: Utc | None
    words: str | None


class NewSecret(Body):
    """Another secret for a provider."""

    secret: Secret | None = Field(repr=False, description="Null takes it away.")


class SecretShown(Given):
    """How a provider's secret is kept; nothing shows it."""

    counted = frozenset({"reseal"})

    secret: bool = Field(description="Whether there is one.")
    sealed_at: Utc | None = Field(description="Null: there is none, or it was before that was written down.")
    key: str | None = Field(description="KMS key under which it is sealed.")
    reseal: ResealShown | None = Field(description="The latest one; null where there was none of late.")


class Inquiries:
    """Tests of providers, and secrets that are sealed anew: a worker does it, and here is told what it says."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, one = Scope.PROVIDERS_READ, Scope.PROVIDERS_WRITE, "/providers/{name}"
        table: tuple[Row, ...] = (
            ("POST", f"{one}/tests", write, self.test, "Test a provider", 202, (404,)),
            ("GET", f"{one}/tests/{{id}}", read, self.show, "Show a test", 200, (404,)),
            ("GET", f"{one}/secret", read, self.secret, "Tell how its secret is kept", 200, (404,)),
            ("PUT", f"{one}/secret", write, self.set_secret, "Give it another secret", 204, (404, 412)),
            ("POST", f"{one}/secret/reseal", write, self.reseal, "Seal its secret anew", 202, (404,)),
            ("POST", "/providers/reseal", write, self.reseal_all, "Seal secrets anew", 202, (404,)),
        )
        add(app, "providers", map(Operation.of, table))
        endpoints: Row = (
            "POST",
            "/webhooks/reseal",
            Scope.WEBHOOKS_WRITE,
            self.reseal_endpoints,
            "Seal signing secrets anew",
            202,
            (404,),
        )
        add(app, "webhooks", (Operation.of(endpoints),))

    async def test(
        self,
        caller: Calling,
        name: str,
        query: Annotated[Of, Query()],
        response: Response,
        body: TestWanted | None = None,
    ) -> TestShown:
        """Have a worker see whether mail would go through a provider, enabled or not.

        It goes step by step up to where a mail would follow. With addresses it sends a small mail besides, past all
        rules. A provider can be tested six times a minute.
        """
        owner, mail = owner_of(caller, query), body.mail() if body else {}
        async with self._house.office(caller.deed("provider.test", name, owner)) as office:
            made = await office.inquiries.test(owner, name, caller.key.actor, mail)
        async with self._house.office() as office:
            shown = await _shown(office, owner, name, made)
        locate(response, f"/providers/{name}/tests", made, query.account)
        return shown

    async def show(self, caller: Calling, name: str, id: UUID, query: Annotated[Of, Query()]) -> TestShown:  # noqa: A002 - its name in the path
        """How a test of a provider stands, and what came of it. Tests are kept for a week."""
        async with self._house.office() as office:
            return await _shown(office, owner_of(caller, query), name, id)

    async def secret(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response
    ) -> SecretShown:
        """When a provider's secret was sealed and under which key, and whether it is being sealed anew."""
        async with self._house.office() as office:
            shown = await _kept(office, owner_of(caller, query), name)
        tag(response, shown)
        return shown

    async def set_secret(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], body: NewSecret, if_match: IfMatch = None
    ) -> None:
        """Give a provider another secret, or none."""
        owner = owner_of(caller, query)
        async with self._house.change(caller.deed("provider.secret", name, owner)) as office:
            expect(if_match, await _kept(office, owner, name))
            await office.providers.set_secret(owner, name, body.secret)

    async def reseal(
        self, caller: Calling, name: str, query: Annotated[Of, Query()], response: Response
    ) -> SecretShown:
        """Have a worker seal a provider's secret anew: under a new data key, by the KMS key that is configured now."""
        owner = owner_of(caller, query)
        async with self._house.office(caller.deed("provider.reseal", name, owner)) as office:
            await office.inquiries.reseal(owner, name, caller.key.actor)
        async with self._house.office() as office:
            shown = await _kept(office, owner, name)
        locate(response, f"/providers/{name}", "secret", query.account)
        return shown

    async def reseal_all(self, caller: Calling, query: Annotated[Of, Query()]) -> Counted:
        """Have the secrets of an account's providers sealed anew; with an operator's key that names none, of all."""
        owner = owner_of(caller, query)
        async with self._house.office(caller.deed("provider.reseal", "all", owner)) as office:
            return Counted(count=await office.inquiries.reseal_providers(owner, caller.key.actor))

    async def reseal_endpoints(self, caller: Calling, query: Annotated[Of, Query()]) -> Counted:
        """Have the signing secrets of an account's endpoints sealed anew; they stay the same. Otherwise as above."""
        owner = owner_of(caller, query)
        async with self._house.office(caller.deed("webhook.reseal", "all", owner)) as office:
            return Counted(count=await office.inquiries.reseal_endpoints(owner, caller.key.actor))


async def _shown(office: Office, owner: str | None, name: str, test: UUID) -> TestShown:
    row = await office.inquiries.show_test(owner, name, test)
    mail, outcome = row.pop("arguments"), row.pop("outcome") or {}
    found: dict[str, Any] = {"words": None, "seconds": None, "steps": [], "recipients": [], **outcome}
    return TestShown.model_validate({**row, **found, "sender": mail.get("from"), "recipient": mail.get("to")})


async def _kept(office: Office, owner: str | None, name: str) -> SecretShown:
    row = await office.inquiries.secret(owner, name)
    return SecretShown.model_validate({**row, "reseal": row if row["state"] else None})
