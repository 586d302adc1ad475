"""`credential`: SMTP users."""

import argparse
import json
from datetime import timedelta

from backing.admin.credentials import NewCredential
from backing.admin.office import Office
from backing.commands import keeping, listings
from backing.commands.reading import Verbs, day, lines, network, number
from backing.passwords import weakness


def arguments(verb: Verbs) -> None:
    """Say what `credential` takes."""
    create = verb("create", help="give an account another credential")
    create.add_argument("account")
    create.add_argument("--username", help="default: made from the account's name")
    password = create.add_mutually_exclusive_group()
    password.add_argument("--password-file", help="first line is a password you chose; - is standard input")
    password.add_argument("--no-password", action="store_true", help="only a client certificate signs in")
    keeping.argument(password)
    create.add_argument(
        "--network", type=network, action="append", default=[], metavar="CIDR", help="usable from here; repeatable"
    )
    create.add_argument("--certificate-name", metavar="NAME", help="a client certificate of this name signs in")
    create.add_argument("--expires-at", type=day, metavar="DATE", help="when it signs in no more; default: never")
    create.add_argument("--json", action="store_true")
    listed = verb("list", help="show the credentials of an account")
    listed.add_argument("account")
    listed.add_argument("--json", action="store_true")
    rotate = verb("rotate", help="give a credential another password; for a while the one before is good as well")
    rotate.add_argument("username")
    chosen = rotate.add_mutually_exclusive_group()
    chosen.add_argument("--password-file", help="first line is a password you chose; - is standard input")
    keeping.argument(chosen)
    rotate.add_argument(
        "--overlap-hours", type=number(0, 720), default=24, metavar="N", help="0 ends its sessions; default: 24"
    )
    rotate.add_argument("--json", action="store_true")
    verb("revoke", help="let a credential sign in no more").add_argument("username")


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `credential` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    credentials = office.credentials
    match asked.verb:
        case "create":
            made = await credentials.create(asked.account, new_credential(asked))
            return listings.issued(made, as_json=asked.json)
        case "rotate":
            overlap, chosen = timedelta(hours=asked.overlap_hours), _password(asked.password_file)
            made = await credentials.rotate(asked.username, overlap=overlap, password=chosen)
            return listings.issued(made, as_json=asked.json)
        case "list":
            rows = await credentials.of(asked.account)
            return json.dumps(rows) if asked.json else listings.credentials(rows)
        case _:
            await credentials.revoke(asked.username)
            return f"Credential {asked.username} can sign in no more."


def new_credential(asked: argparse.Namespace) -> NewCredential:
    """Give the credential that `credential create` describes.

    Raises:
        ValueError: the password cannot be read or is too short, or there is neither password nor certificate.
    """
    password = _password(asked.password_file)
    if asked.no_password and not asked.certificate_name:
        raise ValueError("--no-password needs --certificate-name: nothing else would sign in")
    if asked.certificate_name is not None and not asked.certificate_name.strip():
        raise ValueError("--certificate-name is empty; give the name that stands in the client certificate")
    return NewCredential(
        username=asked.username,
        password=password,
        networks=tuple(asked.network),
        certificate_name=asked.certificate_name,
        certificate_only=asked.no_password,
        expires_at=asked.expires_at,
    )


def _password(file: str | None) -> str | None:
    """Read a password that somebody chose, if one was given.

    Raises:
        ValueError: it cannot be read, or is too short.
    """
    if not file:
        return None
    password = lines("--password-file", file)[0]
    if fault := weakness(password):
        raise ValueError(f"--password-file {file}: {fault}")
    return password
