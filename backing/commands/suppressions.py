"""`suppression`: addresses that an account does not send to."""

import argparse
import json
from typing import Final

from backing.admin.office import Office
from backing.commands import listings
from backing.commands.reading import Verbs, day, lines, stream

REASONS: Final = ("manual", "bounce", "complaint", "unsubscribe")


def arguments(verb: Verbs) -> None:
    """Say what `suppression` takes."""
    add = verb("add", help="send to these addresses no more")
    add.add_argument("account")
    add.add_argument("address", nargs="*")
    add.add_argument("--file", help="addresses, one a line; - is standard input")
    add.add_argument("--reason", choices=REASONS, default=REASONS[0])
    add.add_argument("--until", type=day, metavar="YYYY-MM-DD", help="the first day (UTC) they are sent to again")
    add.add_argument("--stream", type=stream, help="in this stream only; default: in all")
    remove = verb("remove", help="send to these addresses again")
    remove.add_argument("account")
    remove.add_argument("address", nargs="+")
    remove.add_argument("--stream", type=stream, help="in this stream only; default: wherever they are suppressed")
    listed = verb("list", help="show the addresses that were added last")
    listed.add_argument("account")
    listed.add_argument("--most", type=int, default=1000, metavar="N", help="default: 1000")
    listed.add_argument("--json", action="store_true")


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `suppression` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    lists = office.suppressions
    match asked.verb:
        case "add":
            count = await lists.add(asked.account, suppressed(asked), asked.reason, asked.until, asked.stream or "")
            what = f"{count} addresses" if count > 1 else "this address"
            return f"{asked.account} sends to {what} no more{_where(asked)}."
        case "list":
            several = await lists.newest(asked.account, asked.most)
            if asked.json:
                return json.dumps([listings.suppression(one) for one in several])
            return listings.suppressions(several)
        case _:
            await lists.remove(asked.account, asked.address, asked.stream)
            return f"{asked.account} may send to {', '.join(asked.address)} again{_where(asked)}."


def _where(asked: argparse.Namespace) -> str:
    return f" in stream {asked.stream}" if asked.stream else ""


def suppressed(asked: argparse.Namespace) -> list[str]:
    """Give the addresses that `suppression add` names.

    Raises:
        ValueError: there is none, or the file cannot be read.
    """
    listed = lines("--file", asked.file) if asked.file else []
    addresses = [*asked.address, *(line.strip() for line in listed if line.strip())]
    if not addresses:
        raise ValueError("suppression add: give an address, or --file with one a line")
    return addresses
