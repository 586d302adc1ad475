"""Messages: what was sent, and what is still to be done with it."""

from dataclasses import replace
from typing import Final

from client.api import values
from client.api.building import rerouted, submission
from client.api.command import Command, Noun, Option, Place, Said, Shape, Table
from client.api.wording import ACCOUNT, IDEMPOTENCY_KEY, cursor, limit, subject

_ID: Final = subject("id", "of the message")
_STATES: Final = (
    "queued",
    "sending",
    "deferred",
    "unknown",
    "held",
    "accepted",
    "delivered",
    "bounced",
    "complained",
    "failed",
    "expired",
    "suppressed",
    "discarded",
    "cancelled",
)
_ORDERS: Final = ("hold", "release", "cancel", "retry", "reroute")
_TO: Final = Option("--recipient", Place.QUERY, "recipient", about="one of its recipients", metavar="ADDRESS")
_MESSAGE_ID: Final = Option("--message-id", Place.QUERY, "message_id", about="its Message-ID header", metavar="ID")
_PROVIDER_ID: Final = Option(
    "--provider-message-id",
    Place.QUERY,
    "provider_message_id",
    about="id that a provider gave it when it took it",
    metavar="ID",
)
_STATE: Final = Option(
    "--state", Place.QUERY, "state", about="how one of its recipients stands", choices=_STATES, metavar="STATE"
)
_SINCE: Final = Option(
    "--since",
    Place.QUERY,
    "since",
    about="accepted then or later: a time, or how long ago, as in 2h",
    read=values.moment,
    metavar="TIME",
)
_UNTIL: Final = Option(
    "--until", Place.QUERY, "until", about="accepted before: as --since", read=values.moment, metavar="TIME"
)
_RECIPIENT: Final = Option(
    "--recipient",
    Place.QUERY,
    "recipient",
    about="number of the one recipient that is meant, as `show` tells it",
    read=values.number,
    metavar="N",
)
_FILTER: Final = (_TO, _MESSAGE_ID, _PROVIDER_ID, _SINCE, _UNTIL)
_NOTED: Final = "no worker has {id} yet; the order is noted, and obeyed before it is sent"
_FILE: Final = Option("file", Place.NOWHERE, "file", about="- is standard input")

MESSAGES: Final = Noun(
    "messages",
    "what was sent, and what became of it",
    (
        Command(
            verb="search",
            about="search the messages of an account, the newest first",
            method="GET",
            path="/messages",
            options=(
                ACCOUNT,
                _TO,
                _MESSAGE_ID,
                _PROVIDER_ID,
                _STATE,
                _SINCE,
                _UNTIL,
                limit(50, 200),
                cursor(),
            ),
            shows=Table(("accepted_at", "id", "state", "mail_from", "recipient", "states", "size")),
            pages="cursor",
        ),
        Command(
            verb="show",
            about="tell the story of a message",
            method="GET",
            path="/messages/{id}",
            options=(_ID,),
            shows=Shape.STORY,
        ),
        Command(
            verb="raw",
            about="print a message as it is delivered, while its body is stored",
            method="GET",
            path="/messages/{id}/raw",
            options=(_ID,),
            shows=Shape.OCTETS,
        ),
        *(
            Command(
                verb=verb,
                about=about,
                method="POST",
                path=f"/messages/{{id}}/{verb}",
                options=(_ID, _RECIPIENT),
                shows=Said(words, _NOTED),
            )
            for verb, about, words in (
                ("hold", "let wait what waits, until it is let go", "{id} is held for recipients {recipients}"),
                ("cancel", "send it no more", "{id} goes no more to recipients {recipients}"),
                ("release", "let go what is held", "{id} goes to recipients {recipients}"),
                (
                    "retry",
                    "send at once what is deferred, and once more what failed",
                    "{id} goes once more to recipients {recipients}",
                ),
            )
        ),
        Command(
            verb="reroute",
            about="send what waits or is held through another provider, or by the rules as they stand now",
            method="POST",
            path="/messages/{id}/reroute",
            options=(
                _ID,
                Option("provider", Place.BODY, "provider", about="name of one that the account may use", optional=True),
                Option("--rules", Place.BODY, "rules", about="by the account's rules", metavar=None),
                _RECIPIENT,
            ),
            build=rerouted,
            shows=Said("{id} goes another way to recipients {recipients}", _NOTED),
        ),
        Command(
            verb="order",
            about="hold, release, cancel, retry or reroute what a filter finds; without --do, only tell what it is",
            method="POST",
            path="/message-orders",
            options=(
                Option("order", Place.BODY, "order", about="what is to be done", choices=_ORDERS),
                ACCOUNT,
                replace(_STATE, place=Place.BODY, name="filter/state", required=True),
                *(replace(each, place=Place.BODY, name=f"filter/{each.name}") for each in _FILTER),
                Option(
                    "--provider",
                    Place.BODY,
                    "provider",
                    about="of reroute: one that the account may use; without, rules say it",
                ),
                Option("--do", Place.BODY, "dry_run", about="do it", metavar=None, const=False),
                replace(limit(100, 100), place=Place.BODY),
                replace(cursor(), place=Place.BODY),
            ),
        ),
        Command(
            verb="submit",
            about="send a file: a message as it is, or with --letter, one in JSON",
            method="POST",
            path="/messages",
            options=(
                _FILE,
                ACCOUNT,
                Option("--from", Place.QUERY, "from", about="reverse path; '' is the null sender", metavar="ADDRESS"),
                Option("--to", Place.QUERY, "to", about="recipient; repeatable", many=True, metavar="ADDRESS"),
                Option("--letter", Place.NOWHERE, "letter", about="the file is JSON, as the API has it", metavar=None),
                IDEMPOTENCY_KEY,
            ),
            build=submission,
        ),
    ),
)
