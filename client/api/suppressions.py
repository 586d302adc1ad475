"""The addresses that get no mail."""

from dataclasses import replace
from typing import Final

from client.api.building import imported
from client.api.command import Command, Noun, Option, Place, Said, Shape, Table
from client.api.wording import ACCOUNT, IDEMPOTENCY_KEY, cursor, field, limit

_REASONS: Final = ("manual", "bounce", "complaint", "unsubscribe")
_UNTIL: Final = field("--until", "when it ends, as in 2027-01-31T00:00:00Z; else never", metavar="TIME")
_STREAM: Final = field("--stream", "only for this stream of mail", metavar="NAME")
_WHY: Final = replace(field("--reason", "why; default: manual"), choices=_REASONS)
_ADDRESSES: Final = Option("address", Place.BODY, "addresses", about="one or more", many=True, required=True)
_FILE: Final = Option("file", Place.NOWHERE, "file", about="- is standard input")

SUPPRESSIONS: Final = Noun(
    "suppressions",
    "addresses that an account does not send to",
    (
        Command(
            verb="list",
            about="list them, the newest first",
            method="GET",
            path="/suppressions",
            options=(ACCOUNT, limit(100, 10_000), cursor()),
            shows=Table(("address", "reason", "source", "since", "until", "stream")),
            pages="cursor",
        ),
        Command(
            verb="export",
            about="print the whole list, a line for each",
            method="GET",
            path="/suppressions/export",
            options=(
                ACCOUNT,
                Option(
                    "--format",
                    Place.QUERY,
                    "format",
                    about="comma-separated, or a JSON object a line; default: csv",
                    choices=("csv", "jsonl"),
                ),
            ),
            shows=Shape.OCTETS,
        ),
        Command(
            verb="add",
            about="suppress addresses; if one is none, none of them",
            method="POST",
            path="/suppressions",
            options=(_ADDRESSES, ACCOUNT, _WHY, _UNTIL, _STREAM, IDEMPOTENCY_KEY),
            shows=Said("{count} suppressed"),
        ),
        Command(
            verb="import",
            about="suppress the addresses of a file: one a line, or what `export` prints",
            method="POST",
            path="/suppressions",
            options=(_FILE, ACCOUNT, _WHY, _UNTIL, _STREAM, IDEMPOTENCY_KEY),
            shows=Said("{count} suppressed"),
            build=imported,
        ),
        Command(
            verb="remove",
            about="suppress addresses no more; if one is not on the list, all stay",
            method="POST",
            path="/suppressions/remove",
            options=(_ADDRESSES, ACCOUNT, _STREAM),
            shows=Said("{count} suppressed no more"),
        ),
    ),
)
