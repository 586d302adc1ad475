"""The operator's command line, `python -m backing`, as values."""

import argparse
from pathlib import Path

from backing.admin import NewAccount, NewProvider
from mail.delivery import OnUnknown

TLS_MODES = ("starttls", "implicit", "opportunistic", "none")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with 2 and says what was expected."""
    parser = argparse.ArgumentParser(prog="python -m backing", description="Schema, accounts and credentials.")
    nouns = parser.add_subparsers(dest="noun", required=True)

    migrate = nouns.add_parser("migrate", help="bring the schema up or down").add_subparsers(dest="verb", required=True)
    migrate.add_parser("up", help="apply what is missing").add_argument("revision", nargs="?", default="head")
    migrate.add_parser("down", help="take back, down to a revision").add_argument("revision", help="`base` is none")
    migrate.add_parser("current", help="show the revision")

    account = nouns.add_parser("account", help="tenants").add_subparsers(dest="verb", required=True)
    _create(account.add_parser("create", help="make an account with a credential and a default provider"))
    change = account.add_parser("provider", help="give an account another default provider, or change its settings")
    change.add_argument("name")
    _provider(change)
    account.add_parser("list", help="show all accounts").add_argument("--json", action="store_true")
    account.add_parser("disable", help="let an account sign in no more").add_argument("name")

    credential = nouns.add_parser("credential", help="SMTP users").add_subparsers(dest="verb", required=True)
    create = credential.add_parser("create", help="give an account another credential")
    create.add_argument("account")
    create.add_argument("--username", help="default: made from the account's name")
    create.add_argument("--json", action="store_true")
    credential.add_parser("revoke", help="let a credential sign in no more").add_argument("username")
    return parser.parse_args(arguments)


def _create(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="small letters, digits, dashes")
    parser.add_argument(
        "--domain", action="append", required=True, help="may send from it; *.example.com for all below; repeatable"
    )
    parser.add_argument("--username", help="SMTP user name; default: made from the account's name")
    parser.add_argument("--on-unknown", type=OnUnknown, choices=list(OnUnknown), default=OnUnknown.RESEND)
    parser.add_argument("--json", action="store_true", help="print the credential as JSON")
    _provider(parser)


def _provider(parser: argparse.ArgumentParser) -> None:
    provider = parser.add_mutually_exclusive_group(required=True)
    provider.add_argument("--provider", help="name of a provider shared by all accounts")
    provider.add_argument("--smtp", metavar="HOST:PORT", help="deliver through this SMTP server")
    parser.add_argument("--smtp-tls", choices=TLS_MODES, default="starttls")
    parser.add_argument("--smtp-user")
    parser.add_argument("--smtp-password-file", type=Path, help="first line is the password")


def new_account(arguments: argparse.Namespace) -> NewAccount:
    """Give the account that `account create` describes.

    Raises:
        ValueError: the SMTP server is not HOST:PORT, or its password file cannot be read.
    """
    return NewAccount(
        name=arguments.name,
        allowed_domains=tuple(arguments.domain),
        provider=provider(arguments),
        username=arguments.username,
        on_unknown=arguments.on_unknown,
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
    return NewProvider("smtp", "smtp", config, _first_line(arguments.smtp_password_file))


def _first_line(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except OSError as error:
        raise ValueError(f"--smtp-password-file {path}: {error.strerror}") from None
