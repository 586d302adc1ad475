"""SMTP credentials: what an account signs in with over SMTP."""

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated

from fastapi import FastAPI, Query
from pydantic import AfterValidator, Field
from starlette.responses import Response

from backing.admin.credentials import IssuedCredential, NewCredential
from mail.keys import Scope
from web.api.caller import Calling
from web.api.made import locate
from web.api.models import Body, End, Given, Listed, Of, Rotation, Utc
from web.api.operations import Operation, Row, add
from web.api.pages import SlicedOf, following, part
from web.api.repeats import Once, OnlyOnce
from web.house import House
from web.problems import Problem


def _network(text: str) -> str:
    return str(ip_network(text))


NetworkText = Annotated[str, Field(max_length=50, examples=["192.0.2.0/24"]), AfterValidator(_network)]


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


class Credentials:
    """The SMTP credentials of an account."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        all_ = "/credentials"
        table: tuple[Row, ...] = (
            ("GET", all_, Scope.CREDENTIALS_READ, self.listed, "List SMTP credentials", 200, (404,)),
            ("POST", all_, Scope.CREDENTIALS_WRITE, self.create, "Make a credential", 201, (404, 409)),
            (
                "POST",
                f"{all_}/{{username}}/rotate",
                Scope.CREDENTIALS_WRITE,
                self.rotate,
                "Exchange a password",
                201,
                (404, 409),
            ),
            ("DELETE", f"{all_}/{{username}}", Scope.CREDENTIALS_WRITE, self.revoke, "Revoke", 204, (404,)),
        )
        add(app, "credentials", map(Operation.of, table))

    async def listed(self, caller: Calling, query: Annotated[SlicedOf, Query()]) -> Listed[CredentialShown]:
        """The SMTP credentials of an account, by name; revoked ones, too."""
        async with self._house.office() as office:
            rows = await office.credentials.of(caller.account(query.account), part(query, str))
        items = [CredentialShown.model_validate(row) for row in rows[: query.limit]]
        return Listed[CredentialShown](items=items, next=following(query, rows, "username"))

    async def create(
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

    async def rotate(
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

    async def revoke(self, caller: Calling, username: str, query: Annotated[Of, Query()]) -> None:
        """Let an SMTP credential sign in no more."""
        account = caller.account(query.account)
        async with self._house.office(caller.deed("credential.revoke", username, account)) as office:
            await office.credentials.revoke(username, account)


def _password(once: Once, made: IssuedCredential) -> CredentialMade:
    shown = CredentialMade(username=made.username, password=made.secret or "")
    return once.secret(f"a password of credential {made.username}", shown)
