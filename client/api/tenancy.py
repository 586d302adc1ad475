"""Accounts, and what they sign in with."""

from dataclasses import replace
from typing import Final

from client.api import values
from client.api.command import Command, Noun, Option, Place, Said, Table
from client.api.wording import (
    ACCOUNT,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    OVERLAP,
    PAGES,
    every,
    field,
    pairs,
    secret,
    subject,
    switch,
)

_NAME: Final = subject("name", "of the account")
_KINDS: Final = ("smtp", "ses", "mailgun", "sendgrid", "postmark", "sandbox")
_LIMIT: Final = values.number_or_none
_OPTIONS: Final = (
    every("--domain", "allowed_domains", "domain that it may send from", "DOMAIN"),
    field("--provider", "name of its default provider", metavar="NAME"),
    replace(field("--on-unknown", "what is done where the outcome stays unknown"), choices=("resend", "hold", "drop")),
    switch("--check-from", "check_from", "whether the From header has to be of its domains"),
    switch("--repair-line-ends", "repair_line_ends", "whether bare line ends are made whole"),
    field("--max-sessions", "most SMTP sessions at a time; none: no limit of its own", _LIMIT, "N"),
    Option(
        "--quota",
        Place.BODY,
        "quotas",
        about="as in day:messages=10000; =none takes it away; repeatable",
        read=values.quota,
        many=True,
        metavar="WINDOW:UNIT=N",
    ),
    Option(
        "--retry-seconds",
        Place.BODY,
        "retry_seconds",
        about="pause before a next try; repeatable",
        read=values.number,
        many=True,
        metavar="N",
    ),
    field("--expiry-seconds", "after which it is given up; none: as usual", _LIMIT, "N"),
    switch("--send-dsn", "send_dsn", "whether senders are sent reports"),
    field("--delay-notice-seconds", "after which a delay is reported; none: never", _LIMIT, "N"),
    field("--retention-days", "how long its mail stays on record; none: as usual", _LIMIT, "N"),
    switch("--archive", "archive", "whether its mail is archived"),
)
_OWN: Final = (
    replace(field("--kind", "make a provider of its own, of this kind"), name="provider/kind", choices=_KINDS),
    pairs("--config", "provider/config", "setting of its own provider"),
    secret("provider/secret"),
    field("--username", "of its first SMTP credential; else made of its name", metavar="NAME"),
)

ACCOUNTS: Final = Noun(
    "accounts",
    "who may send",
    (
        Command(
            verb="list",
            about="list accounts",
            method="GET",
            path="/accounts",
            options=PAGES,
            shows=Table(("name", "allowed_domains", "provider", "disabled", "credentials")),
            pages="cursor",
        ),
        Command(verb="show", about="show an account", method="GET", path="/accounts/{name}", options=(_NAME,)),
        Command(
            verb="create",
            about="make an account, with its first SMTP credential",
            method="POST",
            path="/accounts",
            options=(Option("name", Place.BODY, "name", about="of the account"), *_OPTIONS, *_OWN, IDEMPOTENCY_KEY),
            whole=True,
            secret=True,
        ),
        Command(
            verb="change",
            about="change an account; what is not named stays",
            method="PATCH",
            path="/accounts/{name}",
            options=(_NAME, *_OPTIONS, IF_MATCH),
            whole=True,
        ),
        Command(
            verb="delete",
            about="delete a disabled account with all it has; its messages stay on record",
            method="DELETE",
            path="/accounts/{name}",
            options=(_NAME, IF_MATCH),
        ),
        *(
            Command(verb=verb, about=about, method="POST", path=f"/accounts/{{name}}/{verb}", options=(_NAME, IF_MATCH))
            for verb, about in (("disable", "let it sign in no more"), ("enable", "let it sign in again"))
        ),
    ),
)

CREDENTIALS: Final = Noun(
    "credentials",
    "what an account signs in with over SMTP",
    (
        Command(
            verb="list",
            about="list the credentials of an account",
            method="GET",
            path="/credentials",
            options=(ACCOUNT, *PAGES),
            shows=Table(
                (
                    "username",
                    "password",
                    "networks",
                    "certificate_name",
                    "revoked",
                    "created",
                    "expires_at",
                    "last_used_at",
                    "rotating_until",
                )
            ),
            pages="cursor",
        ),
        Command(
            verb="create",
            about="make a credential; its password is shown once",
            method="POST",
            path="/credentials",
            options=(
                ACCOUNT,
                field("--username", "else made of the account's name", metavar="NAME"),
                every("--network", "networks", "where it may be used from; none: anywhere", "CIDR"),
                field("--certificate-name", "client certificate that signs in as it; for operators", metavar="NAME"),
                field("--expires-at", "when it signs in no more, as in 2027-01-31T00:00:00Z", metavar="TIME"),
                IDEMPOTENCY_KEY,
            ),
            whole=True,
            secret=True,
        ),
        Command(
            verb="rotate",
            about="give a credential another password; for a while the one before is good as well",
            method="POST",
            path="/credentials/{username}/rotate",
            options=(subject("username", "of the credential"), ACCOUNT, OVERLAP, IDEMPOTENCY_KEY),
            secret=True,
        ),
        Command(
            verb="revoke",
            about="let a credential sign in no more",
            method="DELETE",
            path="/credentials/{username}",
            options=(subject("username", "of the credential"), ACCOUNT),
            shows=Said("{username} signs in no more"),
        ),
    ),
)

KEYS: Final = Noun(
    "keys",
    "what this API is called with",
    (
        Command(
            verb="list",
            about="list keys of an account, or without one, of operators",
            method="GET",
            path="/keys",
            options=(ACCOUNT, *PAGES),
            shows=Table(("prefix", "name", "scopes", "created_at", "expires_at", "last_used_at", "revoked_at")),
            pages="cursor",
        ),
        Command(
            verb="create",
            about="make a key; it is shown once",
            method="POST",
            path="/keys",
            options=(
                Option("name", Place.BODY, "name", about="by which people know it"),
                ACCOUNT,
                every("--scope", "scopes", "what it may do; none: all that the calling key may hand on", "SCOPE"),
                field("--rate-per-minute", "how often it may be used; for operators", values.number, "N"),
                field("--expires-at", "when it ends, as in 2027-01-31T00:00:00Z", metavar="TIME"),
                IDEMPOTENCY_KEY,
            ),
            whole=True,
            secret=True,
        ),
        Command(
            verb="rotate",
            about="make a key that takes the place of another",
            method="POST",
            path="/keys/{prefix}/rotate",
            options=(subject("prefix", "of the key"), ACCOUNT, OVERLAP, IDEMPOTENCY_KEY),
            secret=True,
        ),
        Command(
            verb="rotate-own",
            about="make a key that takes the place of the calling one; for tenants",
            method="POST",
            path="/accounts/{name}/rotate-key",
            options=(_NAME, OVERLAP, IDEMPOTENCY_KEY),
            secret=True,
        ),
        Command(
            verb="revoke",
            about="let a key be used no more",
            method="DELETE",
            path="/keys/{prefix}",
            options=(subject("prefix", "of the key"), ACCOUNT),
            shows=Said("{prefix} is good no more"),
        ),
    ),
)
