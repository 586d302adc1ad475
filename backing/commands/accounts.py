"""`account`: tenants, what they may do, and how their mail is delivered."""

import argparse
import json
from pathlib import Path
from typing import Final

from backing.admin.accounts import Accounts, NewAccount, Options
from backing.admin.office import Office
from backing.admin.providers import NewProvider
from backing.commands import keeping, listings
from backing.commands.reading import Setting, Verbs, lines, number, setting
from mail.accounts import UNITS, WINDOWS, Quota, Unit, Window
from mail.delivery import OnUnknown

TLS_MODES: Final = ("starttls", "implicit", "opportunistic", "none")
MAX_SESSIONS: Final = 1_000_000
MAX_WAITS: Final = 30
_DAY: Final = 86_400
_QUOTA: Final = f"{'|'.join(WINDOWS)}:{'|'.join(UNITS)}"


def arguments(verb: Verbs) -> None:
    """Say what `account` takes."""
    create = verb("create", help="make an account with a credential and a default provider")
    create.add_argument("name", help="small letters, digits, dashes")
    _options(create, domain_required=True)
    create.add_argument("--username", help="SMTP user name; default: made from the account's name")
    create.add_argument("--json", action="store_true", help="print the credential as JSON")
    keeping.argument(create)
    _provider(create)
    change = verb("set", help="change what an account may do; what is not named stays as it is")
    change.add_argument("name")
    _options(change, domain_required=False)
    provide = verb("provider", help="give an account another default provider, or change its settings")
    provide.add_argument("name")
    _provider(provide)
    verb("list", help="show all accounts").add_argument("--json", action="store_true")
    show = verb("show", help="show all about one account")
    show.add_argument("name")
    show.add_argument("--json", action="store_true")
    verb("disable", help="let an account sign in no more").add_argument("name")
    verb("enable", help="let a disabled account sign in again").add_argument("name")
    verb("delete", help="delete a disabled account and all it has").add_argument("name")


def _options(parser: argparse.ArgumentParser, *, domain_required: bool) -> None:
    parser.add_argument(
        "--domain",
        action="append",
        required=domain_required,
        help="may send from it; *.example.com for all below; repeatable",
    )
    parser.add_argument("--on-unknown", type=OnUnknown, choices=list(OnUnknown))
    parser.add_argument(
        "--check-from", action=argparse.BooleanOptionalAction, help="From and Sender headers need those domains, too"
    )
    parser.add_argument(
        "--repair-line-ends",
        action=argparse.BooleanOptionalAction,
        help="repair bare CR, bare LF and NUL in messages instead of refusing them",
    )
    sessions = parser.add_mutually_exclusive_group()
    sessions.add_argument("--max-sessions", type=int, metavar="N", help="most SMTP sessions at a time")
    sessions.add_argument("--no-max-sessions", action="store_true", help="only the relay's own limit")
    parser.add_argument(
        "--quota", type=_quota, action="append", default=[], metavar="WINDOW:UNIT:N", help=f"{_QUOTA}:N; repeatable"
    )
    parser.add_argument(
        "--no-quota", type=_no_quota, action="append", default=[], metavar="WINDOW:UNIT", help=f"{_QUOTA}; repeatable"
    )
    _delivery(parser)


def _delivery(parser: argparse.ArgumentParser) -> None:
    own = "; default: the worker's own"
    for option, read, none, metavar, words in (
        ("--retry-seconds", _waits, "default", "N,N,...|default", f"waits between attempts, the last repeats{own}"),
        ("--expiry-seconds", number(300, 5 * _DAY), "default", "N|default", f"age at which mail expires{own}"),
        ("--delay-notice-seconds", number(1, 5 * _DAY), "never", "N|never", "age at which a sender is told of a delay"),
        ("--retention-days", number(1, 36_500), "default", "N|default", f"how long finished mail is kept{own}"),
    ):
        parser.add_argument(option, type=setting(read, none), metavar=metavar, help=words)
    parser.add_argument(
        "--send-dsn", action=argparse.BooleanOptionalAction, help="tell senders of mail that failed (RFC 3464)"
    )
    parser.add_argument(
        "--archive", action=argparse.BooleanOptionalAction, help="keep what retention deletes in the archive"
    )


def _provider(parser: argparse.ArgumentParser) -> None:
    provider = parser.add_mutually_exclusive_group(required=True)
    provider.add_argument("--provider", help="name of a provider of the account, or of one shared by all")
    provider.add_argument("--smtp", metavar="HOST:PORT", help="deliver through this SMTP server")
    parser.add_argument("--smtp-tls", choices=TLS_MODES, default="starttls")
    parser.add_argument("--smtp-user")
    parser.add_argument("--smtp-password-file", type=Path, help="first line is the password")


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `account` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    accounts = office.accounts
    match asked.verb:
        case "create":
            made = NewAccount(asked.name, options(asked), provider(asked), asked.username)
            return listings.issued(await accounts.create(made), as_json=asked.json)
        case "list":
            rows = await accounts.all()
            return json.dumps(rows) if asked.json else listings.accounts(rows)
        case "show":
            row = await accounts.show(asked.name)
            return json.dumps(row) if asked.json else listings.account(row)
        case verb:
            return await _CHANGES[verb](accounts, asked)


async def _set(accounts: Accounts, asked: argparse.Namespace) -> str:
    await accounts.change(asked.name, options(asked))
    return listings.account(await accounts.show(asked.name))


async def _provide(accounts: Accounts, asked: argparse.Namespace) -> str:
    await accounts.set_provider(asked.name, provider(asked))
    return f"Account {asked.name} now delivers through {asked.provider or asked.smtp}."


async def _disable(accounts: Accounts, asked: argparse.Namespace) -> str:
    await accounts.disable(asked.name)
    return f"Account {asked.name} can sign in no more; what it sent is still delivered."


async def _enable(accounts: Accounts, asked: argparse.Namespace) -> str:
    await accounts.enable(asked.name)
    return f"Account {asked.name} can sign in again."


async def _delete(accounts: Accounts, asked: argparse.Namespace) -> str:
    gone = await accounts.delete(asked.name)
    went = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in gone.items())
    return f"Account {asked.name} is deleted, and with it: {went}. Its messages stay on record."


_CHANGES = {"set": _set, "provider": _provide, "disable": _disable, "enable": _enable, "delete": _delete}


def options(asked: argparse.Namespace) -> Options:
    """Give what `account create` or `account set` say about an account.

    Raises:
        ValueError: a limit is none.
    """
    most = asked.max_sessions
    if most is not None and not 0 < most <= MAX_SESSIONS:
        raise ValueError(
            f"--max-sessions {most}: needs a number from 1 to {MAX_SESSIONS}; --no-max-sessions takes the limit away"
        )
    delivery = {
        name: value.value if isinstance(value, Setting) else value
        for name in ("retry_seconds", "expiry_seconds", "delay_notice_seconds", "retention_days", "send_dsn", "archive")
        if (value := getattr(asked, name)) is not None
    }
    return Options(
        allowed_domains=tuple(asked.domain) if asked.domain else None,
        on_unknown=asked.on_unknown,
        check_from=asked.check_from,
        repair_line_ends=asked.repair_line_ends,
        max_sessions=asked.max_sessions,
        no_max_sessions=asked.no_max_sessions,
        quotas=tuple(asked.quota),
        no_quotas=tuple(asked.no_quota),
        delivery=delivery,
    )


def provider(asked: argparse.Namespace) -> NewProvider | str:
    """Give the provider that `--smtp` or `--provider` describes.

    Raises:
        ValueError: the SMTP server is not HOST:PORT, or its password file cannot be read.
    """
    if asked.provider:
        name: str = asked.provider
        return name
    host, _, port = asked.smtp.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - a TCP port
        raise ValueError(f"--smtp {asked.smtp!r}: expected HOST:PORT with a port from 1 to 65535")
    config = {"host": host.strip("[]"), "port": int(port), "tls": asked.smtp_tls}
    if asked.smtp_user:
        config["username"] = asked.smtp_user
    file = asked.smtp_password_file
    return NewProvider("smtp", "smtp", config, lines("--smtp-password-file", file)[0] if file else None)


def _waits(text: str) -> list[int]:
    words = text.split(",")
    if len(words) > MAX_WAITS:
        raise argparse.ArgumentTypeError(f"{len(words)} waits; {MAX_WAITS} at most")
    return [number(1, _DAY)(word) for word in words]


def _quota(text: str) -> Quota:
    name, _, limit = text.rpartition(":")
    window, unit = _no_quota(name)
    if not (limit.isascii() and limit.isdecimal()) or int(limit) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: {limit!r} is no whole number above 0")
    return Quota(window, unit, int(limit))


def _no_quota(text: str) -> tuple[Window, Unit]:
    for window in WINDOWS:
        for unit in UNITS:
            if text == f"{window}:{unit}":
                return window, unit
    raise argparse.ArgumentTypeError(f"{text!r} is no quota; expected {_QUOTA}")
