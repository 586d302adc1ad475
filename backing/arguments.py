"""The operator's command line, `python -m backing`, as values."""

import argparse
import ipaddress
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from backing.admin.accounts import NewAccount, NewProvider, Options
from backing.admin.credentials import NewCredential
from backing.overhear import Demand
from backing.passwords import weakness
from mail.accounts import UNITS, WINDOWS, Network, Quota, Unit, Window
from mail.delivery import OnUnknown

TLS_MODES: Final = ("starttls", "implicit", "opportunistic", "none")
REASONS: Final = ("manual", "bounce", "complaint", "unsubscribe")
MAX_SESSIONS: Final = 1_000_000
_QUOTA: Final = f"{'|'.join(WINDOWS)}:{'|'.join(UNITS)}"
_Verbs = Callable[..., argparse.ArgumentParser]


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with 2 and says what was expected."""
    parser = argparse.ArgumentParser(prog="python -m backing", description="Schema, accounts and credentials.")
    nouns = parser.add_subparsers(dest="noun", required=True)
    for noun, words, add in (
        ("migrate", "bring the schema up or down", _migrate),
        ("account", "tenants", _account),
        ("credential", "SMTP users", _credential),
        ("suppression", "addresses that an account does not send to", _suppression),
    ):
        add(nouns.add_parser(noun, help=words).add_subparsers(dest="verb", required=True).add_parser)
    _transcript(nouns.add_parser("transcript", help="show what is said in SMTP sessions from now on, without secrets"))
    return parser.parse_args(arguments)


def _migrate(verb: _Verbs) -> None:
    verb("up", help="apply what is missing").add_argument("revision", nargs="?", default="head")
    verb("down", help="take back, down to a revision").add_argument("revision", help="`base` is none")
    verb("current", help="show the revision")


def _account(verb: _Verbs) -> None:
    create = verb("create", help="make an account with a credential and a default provider")
    create.add_argument("name", help="small letters, digits, dashes")
    _options(create, domain_required=True)
    create.add_argument("--username", help="SMTP user name; default: made from the account's name")
    create.add_argument("--json", action="store_true", help="print the credential as JSON")
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


def _provider(parser: argparse.ArgumentParser) -> None:
    provider = parser.add_mutually_exclusive_group(required=True)
    provider.add_argument("--provider", help="name of a provider shared by all accounts")
    provider.add_argument("--smtp", metavar="HOST:PORT", help="deliver through this SMTP server")
    parser.add_argument("--smtp-tls", choices=TLS_MODES, default="starttls")
    parser.add_argument("--smtp-user")
    parser.add_argument("--smtp-password-file", type=Path, help="first line is the password")


def _credential(verb: _Verbs) -> None:
    create = verb("create", help="give an account another credential")
    create.add_argument("account")
    create.add_argument("--username", help="default: made from the account's name")
    password = create.add_mutually_exclusive_group()
    password.add_argument("--password-file", help="first line is a password you chose; - is standard input")
    password.add_argument("--no-password", action="store_true", help="only a client certificate signs in")
    create.add_argument(
        "--network", type=_network, action="append", default=[], metavar="CIDR", help="usable from here; repeatable"
    )
    create.add_argument("--certificate-name", metavar="NAME", help="a client certificate of this name signs in")
    create.add_argument("--json", action="store_true")
    listed = verb("list", help="show the credentials of an account")
    listed.add_argument("account")
    listed.add_argument("--json", action="store_true")
    verb("revoke", help="let a credential sign in no more").add_argument("username")


def _suppression(verb: _Verbs) -> None:
    add = verb("add", help="send to these addresses no more")
    add.add_argument("account")
    add.add_argument("address", nargs="*")
    add.add_argument("--file", help="addresses, one a line; - is standard input")
    add.add_argument("--reason", choices=REASONS, default=REASONS[0])
    add.add_argument("--until", type=_day, metavar="YYYY-MM-DD", help="the first day (UTC) they are sent to again")
    remove = verb("remove", help="send to these addresses again")
    remove.add_argument("account")
    remove.add_argument("address", nargs="+")
    listed = verb("list", help="show the addresses that were added last")
    listed.add_argument("account")
    listed.add_argument("--most", type=int, default=1000, metavar="N", help="default: 1000")
    listed.add_argument("--json", action="store_true")


def _transcript(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--account", metavar="NAME", help="sessions of this account")
    parser.add_argument("--network", type=_network, metavar="CIDR", help="sessions from this network or address")


def demand(arguments: argparse.Namespace) -> Demand:
    """Give what `transcript` asks for.

    Raises:
        ValueError: it names neither account nor network.
    """
    if arguments.account is None and arguments.network is None:
        raise ValueError("transcript: give --account NAME, --network CIDR, or both")
    return Demand(arguments.account, str(arguments.network) if arguments.network else None)


def new_account(arguments: argparse.Namespace) -> NewAccount:
    """Give the account that `account create` describes.

    Raises:
        ValueError: the SMTP server is not HOST:PORT, or its password file cannot be read.
    """
    return NewAccount(arguments.name, options(arguments), provider(arguments), arguments.username)


def options(arguments: argparse.Namespace) -> Options:
    """Give what `account create` or `account set` say about an account.

    Raises:
        ValueError: a limit is none.
    """
    most = arguments.max_sessions
    if most is not None and not 0 < most <= MAX_SESSIONS:
        raise ValueError(
            f"--max-sessions {most}: needs a number from 1 to {MAX_SESSIONS}; --no-max-sessions takes the limit away"
        )
    return Options(
        allowed_domains=tuple(arguments.domain) if arguments.domain else None,
        on_unknown=arguments.on_unknown,
        check_from=arguments.check_from,
        repair_line_ends=arguments.repair_line_ends,
        max_sessions=arguments.max_sessions,
        no_max_sessions=arguments.no_max_sessions,
        quotas=tuple(arguments.quota),
        no_quotas=tuple(arguments.no_quota),
    )


def provider(arguments: argparse.Namespace) -> NewProvider | str:
    """Give the provider that `--smtp` or `--provider` describes.

    Raises:
        ValueError: as for `new_account`.
    """
    if arguments.provider:
        name: str = arguments.provider
        return name
    host, _, port = arguments.smtp.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:  # noqa: PLR2004 - a TCP port
        raise ValueError(f"--smtp {arguments.smtp!r}: expected HOST:PORT with a port from 1 to 65535")
    config = {"host": host.strip("[]"), "port": int(port), "tls": arguments.smtp_tls}
    if arguments.smtp_user:
        config["username"] = arguments.smtp_user
    file = arguments.smtp_password_file
    return NewProvider("smtp", "smtp", config, _lines("--smtp-password-file", file)[0] if file else None)


def new_credential(arguments: argparse.Namespace) -> NewCredential:
    """Give the credential that `credential create` describes.

    Raises:
        ValueError: the password cannot be read or is too short, or there is neither password nor certificate.
    """
    password = None
    if arguments.password_file:
        password = _lines("--password-file", arguments.password_file)[0]
        fault = weakness(password)
        if fault:
            raise ValueError(f"--password-file {arguments.password_file}: {fault}")
    if arguments.no_password and not arguments.certificate_name:
        raise ValueError("--no-password needs --certificate-name: nothing else would sign in")
    if arguments.certificate_name is not None and not arguments.certificate_name.strip():
        raise ValueError("--certificate-name is empty; give the name that stands in the client certificate")
    return NewCredential(
        username=arguments.username,
        password=password,
        networks=tuple(arguments.network),
        certificate_name=arguments.certificate_name,
        certificate_only=arguments.no_password,
    )


def suppressed(arguments: argparse.Namespace) -> list[str]:
    """Give the addresses that `suppression add` names.

    Raises:
        ValueError: there is none, or the file cannot be read.
    """
    listed = _lines("--file", arguments.file) if arguments.file else []
    addresses = [*arguments.address, *(line.strip() for line in listed if line.strip())]
    if not addresses:
        raise ValueError("suppression add: give an address, or --file with one a line")
    return addresses


def _lines(option: str, path: Path | str) -> list[str]:
    """Give the lines of a file, at least one."""
    try:
        text = sys.stdin.read() if str(path) == "-" else Path(path).read_text("utf-8")
    except OSError as error:
        raise ValueError(f"{option} {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{option} {path}: is not UTF-8 text") from None
    return text.replace("\r\n", "\n").split("\n")


def _network(text: str) -> Network:
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}; expected a network as in 192.0.2.0/24") from None


def _day(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; expected YYYY-MM-DD") from None


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
