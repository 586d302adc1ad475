"""Webhook endpoints, dead letters, certificates, statistics and the audit log."""

from typing import Final

from client.api import values
from client.api.building import redriven
from client.api.command import Command, Noun, Option, Place, Said, Shape, Table
from client.api.wording import (
    ACCOUNT,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    OVERLAP,
    PAGES,
    cursor,
    every,
    field,
    limit,
    subject,
    switch,
)

_ID: Final = subject("id", "of the endpoint")

WEBHOOKS: Final = Noun(
    "webhooks",
    "where an account is told what becomes of its mail",
    (
        Command(
            verb="list",
            about="list the endpoints of an account",
            method="GET",
            path="/webhooks",
            options=(ACCOUNT, *PAGES),
            shows=Table(("id", "url", "types", "enabled", "waiting", "failing_since", "created")),
            pages="cursor",
        ),
        Command(verb="show", about="show an endpoint", method="GET", path="/webhooks/{id}", options=(_ID, ACCOUNT)),
        Command(
            verb="reseal-all",
            about="have the signing secrets of an account's endpoints sealed anew; for an operator without one, of all",
            method="POST",
            path="/webhooks/reseal",
            options=(ACCOUNT,),
            shows=Said("the secrets of {count} endpoints are to be sealed anew"),
        ),
        Command(
            verb="create",
            about="make an endpoint; its secret is shown once",
            method="POST",
            path="/webhooks",
            options=(
                Option("url", Place.BODY, "url", about="to post to"),
                ACCOUNT,
                every("--type", "types", "event that it wants; none: all", "TYPE"),
                IDEMPOTENCY_KEY,
            ),
            whole=True,
            secret=True,
        ),
        Command(
            verb="change",
            about="change an endpoint; what is not named stays",
            method="PATCH",
            path="/webhooks/{id}",
            options=(
                _ID,
                ACCOUNT,
                field("--url", "to post to", metavar="URL"),
                every("--type", "types", "event that it wants, instead of those before", "TYPE"),
                Option("--all-types", Place.BODY, "types", about="it wants all events", metavar=None, const=[]),
                switch("--enabled", "enabled", "whether it is posted to"),
                IF_MATCH,
            ),
            whole=True,
        ),
        Command(
            verb="deliveries",
            about="list what was posted to an endpoint, the newest first",
            method="GET",
            path="/webhooks/{id}/deliveries",
            options=(_ID, ACCOUNT, *PAGES),
            shows=Table(("time", "event", "type", "state", "attempts", "last_status", "last_text")),
            pages="cursor",
        ),
        Command(
            verb="rotate",
            about="give an endpoint another secret; for a while the old one signs, too",
            method="POST",
            path="/webhooks/{id}/rotate",
            options=(_ID, ACCOUNT, OVERLAP, IF_MATCH, IDEMPOTENCY_KEY),
            secret=True,
        ),
        *(
            Command(
                verb=verb,
                about=about,
                method="POST",
                path=f"/webhooks/{{id}}/{verb}",
                options=(_ID, ACCOUNT, *more),
                shows=Said(words),
            )
            for verb, about, words, more in (
                ("enable", "post to an endpoint again", "{id} is posted to", (IF_MATCH,)),
                ("disable", "post to an endpoint no more", "{id} is posted to no more", (IF_MATCH,)),
                ("test", "post an event of no message", "{event} is on its way", ()),
            )
        ),
        Command(
            verb="replay",
            about="post the events of a time once more",
            method="POST",
            path="/webhooks/{id}/replay",
            options=(
                _ID,
                ACCOUNT,
                field("--since", "a time, or how long ago, as in 2h", values.moment, "TIME"),
                field("--until", "as --since; default: now", values.moment, "TIME"),
            ),
            whole=True,
            shows=Said("{count} are posted once more"),
        ),
        Command(
            verb="delete",
            about="remove an endpoint",
            method="DELETE",
            path="/webhooks/{id}",
            options=(_ID, ACCOUNT, IF_MATCH),
            shows=Said("{id} is removed"),
        ),
    ),
)

DEAD_LETTERS: Final = Noun(
    "dead-letters",
    "messages that the delivery queue has given up; for operators",
    (
        Command(
            verb="list",
            about="list some of them",
            method="GET",
            path="/dead-letters",
            options=(limit(50, 500),),
            shows=Table(("queued_at", "id", "message", "account", "reason", "receives", "size")),
        ),
        Command(
            verb="redrive",
            about="bring them back to the delivery queue",
            method="POST",
            path="/dead-letters/redrive",
            options=(
                Option("id", Place.NOWHERE, "ids", about="of letters or of their messages", many=True),
                Option("--all", Place.NOWHERE, "ids", about="all of them", metavar=None),
            ),
            build=redriven,
            shows=Said("{done} are on the delivery queue again, {came_back} were set aside again"),
        ),
        Command(
            verb="drop",
            about="delete one for good",
            method="DELETE",
            path="/dead-letters/{id}",
            options=(subject("id", "of the letter"),),
            shows=Said("{id} is deleted"),
        ),
    ),
)

CERTIFICATES: Final = Noun(
    "certificates",
    "what relays show to clients; for operators",
    (
        Command(
            verb="list",
            about="list the certificates of relays: until when, what for, when renewed, what went wrong",
            method="GET",
            path="/certificates",
            shows=Table(("host", "names", "not_after", "issuer", "due_at", "checked_at", "result", "fault", "failure")),
        ),
    ),
)

STATISTICS: Final = Noun(
    "statistics",
    "an account's mail in numbers",
    (
        Command(
            verb="show",
            about="count the recipients of a time by state, provider and domain",
            method="GET",
            path="/statistics",
            options=(
                ACCOUNT,
                *(
                    Option(f"--{name}", Place.QUERY, name, about=about, read=values.moment, metavar="TIME")
                    for name, about in (
                        ("since", "accepted then or later: a time, or how long ago, as in 2h; default: a day before"),
                        ("until", "accepted before; default: now"),
                    )
                ),
            ),
            shows=Shape.NUMBERS,
        ),
    ),
)

AUDIT: Final = Noun(
    "audit",
    "who changed what",
    (
        Command(
            verb="list",
            about="list changes, the newest first",
            method="GET",
            path="/audit-log",
            options=(ACCOUNT, limit(100, 1000), cursor("before")),
            shows=Table(("at", "account", "actor", "action", "subject", "peer", "request")),
            pages="before",
        ),
    ),
)
