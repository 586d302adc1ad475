"""Suppression lists: addresses that an account does not send to."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from fastapi import FastAPI, Query
from pydantic import Field, model_validator
from starlette.responses import Response, StreamingResponse

from backing.admin.suppressions import SOURCE
from backing.ids import now
from backing.postgres.suppressions import Place
from mail.accounts import Suppression
from mail.keys import Scope
from web.api.caller import Calling
from web.api.letters import Marker
from web.api.models import Body, End, Given, Listed, Moment, Of, Utc
from web.api.operations import Operation, Row, add
from web.api.repeats import OnlyOnce
from web.cursors import cursor_of_texts, moment_of, texts_of
from web.house import House

Reason = Literal["manual", "bounce", "complaint", "unsubscribe"]
_MOST: Final = 10_000
_PAGE: Final = 1000
_EXPORT: Final = {
    "responses": {"200": {"description": "The list.", "content": {"text/csv": {}, "application/jsonl": {}}}}
}


class Entry(Body):
    """A line of an exported list, to be suppressed as it says."""

    address: Annotated[str, Field(max_length=320)]
    reason: Reason = "manual"
    until: Moment | None = Field(None, description="Null is for ever; what is over already is left out.")
    stream: Marker | Literal[""] | None = Field(None, description="Null, or empty, is all.")
    since: Moment | None = Field(None, description="Taken, and not kept: it is suppressed from now on.")
    source: Annotated[str, Field(max_length=200)] | None = Field(None, description="Taken, and not kept: it is you.")


class SuppressionsNew(Body):
    """Addresses to be suppressed, all alike, or each in its own way; together at least one."""

    addresses: list[Annotated[str, Field(max_length=320)]] = Field(default=[], max_length=_MOST)
    reason: Reason = "manual"
    until: End | None = Field(None, description="Null is for ever.")
    stream: Marker | None = Field(None, description="The only stream that does not go to them; null is all.")
    entries: list[Entry] = Field(
        default=[], max_length=_MOST, description="Lines of an exported list, which say of themselves what is so."
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.addresses and not self.entries:
            raise ValueError("name addresses, or entries")
        return self

    def suppressions(self, source: str) -> list[Suppression]:
        """The same for the service, which is told by a source."""
        at = now()
        alike = [Suppression(each, self.reason, source, at, self.until, self.stream or "") for each in self.addresses]
        return alike + [
            Suppression(each.address, each.reason, source, at, each.until, each.stream or "") for each in self.entries
        ]


class SuppressionsGone(Body):
    """Addresses to be suppressed no more."""

    addresses: list[Annotated[str, Field(max_length=320)]] = Field(min_length=1, max_length=_MOST)
    stream: Marker | None = Field(None, description="In this stream only; null is altogether.")


class Suppressed(Given):
    """A suppressed address."""

    address: str
    reason: str
    source: str = Field(description="Who suppressed it: operator, the key of an account by its prefix, or a provider.")
    since: Utc
    until: Utc | None
    stream: str = Field(description="Empty for all.")


class Counted(Given):
    """How many it were."""

    count: int


class Newest(Of):
    """Which page of the list is wanted."""

    cursor: str | None = Field(None, max_length=1000, description="`next` of the page before.")
    limit: int = Field(100, ge=1, le=_MOST, description="Most items of a page.")


class Exported(Of):
    """How the list is written."""

    format: Literal["csv", "jsonl"] = Field("csv", description="A line for each: comma-separated, or a JSON object.")


class Suppressions:
    """The list of an account."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add these operations to the API."""
        read, write, path = Scope.SUPPRESSIONS_READ, Scope.SUPPRESSIONS_WRITE, "/suppressions"
        table: tuple[Row, ...] = (
            ("GET", path, read, self.listed, "List suppressed addresses", 200, (404,)),
            ("GET", f"{path}/export", read, self.export, "Download the list", 200, (404,)),
            ("POST", path, write, self.add, "Suppress addresses", 201, (404,)),
            ("POST", f"{path}/remove", write, self.remove, "Suppress addresses no more", 200, (404,)),
        )
        operations = [Operation.of(row) for row in table]
        operations[1] = replace(operations[1], extra=_EXPORT)
        add(app, "suppressions", operations)

    async def listed(self, caller: Calling, query: Annotated[Newest, Query()]) -> Listed[Suppressed]:
        """Suppressed addresses, the newest first."""
        async with self._house.office() as office:
            account, place = caller.account(query.account), _place(query.cursor)
            found = await office.suppressions.newest(account, query.limit, place)
        following = _cursor(found[-1]) if len(found) == query.limit else None
        return Listed[Suppressed](items=[Suppressed.model_validate(each) for each in found], next=following)

    async def export(self, caller: Calling, query: Annotated[Exported, Query()]) -> Response:
        """The whole list in the order of addresses, written while it is read.

        What changes meanwhile may or may not be in it. An answer that breaks off is not the whole list.
        """
        account = caller.account(query.account)
        async with self._house.office() as office:
            first = await office.suppressions.by_address(account, _PAGE)
            # It changes nothing, and who has carried a list away is asked all the same.
            await office.audit.note(caller.deed("suppression.export", query.format, account))
        written, kind = (_csv, "text/csv") if query.format == "csv" else (_jsonl, "application/jsonl")
        head = _csv_line(list(Suppressed.model_fields)) if query.format == "csv" else b""
        name = {"Content-Disposition": f'attachment; filename="suppressions-{account}.{query.format}"'}
        return StreamingResponse(self._lines(account, first, head, written), headers=name, media_type=kind)

    async def _lines(
        self, account: str, page: list[Suppression], head: bytes, written: Callable[[Suppressed], bytes]
    ) -> AsyncIterator[bytes]:
        yield head
        while page:
            yield b"".join(written(Suppressed.model_validate(each)) for each in page)
            # A transaction a page: who reads slowly keeps no connection from others.
            async with self._house.office() as office:
                page = await office.suppressions.by_address(account, _PAGE, page[-1])

    async def add(
        self, caller: Calling, once: OnlyOnce, query: Annotated[Of, Query()], body: SuppressionsNew
    ) -> Counted:
        """Suppress addresses, all of them or, if one is none, none.

        What `export` writes can be sent as `entries`. The list says of each who suppressed it: `operator`, the `key` of
        an account by its prefix, or a provider.
        """
        account = caller.account(query.account)
        several = body.suppressions(SOURCE if caller.key.account is None else f"key {caller.key.prefix}")
        subject = _some([each.address for each in several])
        async with once.change(self._house, caller.deed("suppression.add", subject, account)) as office:
            return once.made(Counted(count=await office.suppressions.put(account, several)))

    async def remove(self, caller: Calling, query: Annotated[Of, Query()], body: SuppressionsGone) -> Counted:
        """Suppress addresses no more; if one is not on the list, all stay."""
        account = caller.account(query.account)
        async with self._house.office(caller.deed("suppression.remove", _some(body.addresses), account)) as office:
            await office.suppressions.remove(account, body.addresses, body.stream)
        return Counted(count=len(body.addresses))


def _some(addresses: list[str]) -> str:
    return addresses[0] if len(addresses) == 1 else f"{len(addresses)} addresses"


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    at, address, stream = texts_of(cursor, 3)
    return moment_of(at), address, stream


def _cursor(last: Suppression) -> str:
    return cursor_of_texts(last.since.isoformat(), last.address, last.stream)


def _jsonl(shown: Suppressed) -> bytes:
    return shown.model_dump_json().encode() + b"\n"


def _csv(shown: Suppressed) -> bytes:
    return _csv_line(list(shown.model_dump(mode="json").values()))


def _csv_line(values: list[Any]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue().encode()
