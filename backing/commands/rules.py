"""`rule`: which mail of an account goes out where."""

import argparse
import json
from pathlib import Path
from uuid import UUID

from backing.admin.office import Office
from backing.admin.rules import Rules
from backing.commands import tables
from backing.commands.reading import Verbs, number, pairs
from backing.commands.rule_options import fields, header_texts, rule_document
from backing.ids import new_id
from mail.addresses import parse_mailbox
from mail.errors import Refused
from mail.headers import header_block
from mail.routing.conditions import Question
from mail.routing.matches import MAX_OCTETS


def arguments(verb: Verbs) -> None:
    """Say what `rule` takes."""
    create = _named(verb("create", help="make a rule"))
    fields(create)
    change = _named(verb("set", help="change a rule; conditions or an action that are named replace those there were"))
    change.add_argument("--rename", metavar="NAME")
    fields(change)
    _named(verb("delete", help="delete a rule"))
    show = _named(verb("show", help="show a rule as a document"))
    show.add_argument("--json", action="store_true", help="on one line")
    listed = verb("list", help="show the rules of an account in the order in which they are asked")
    listed.add_argument("account")
    listed.add_argument("--json", action="store_true")
    _simulation(verb("simulate", help="show where a message would go, and why; nothing is sent"))


def _named(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("account")
    parser.add_argument("name")
    return parser


def _simulation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("account")
    parser.add_argument("--from", dest="sender", required=True, metavar="ADDRESS", help="empty for the null sender")
    parser.add_argument("--to", action="append", required=True, metavar="ADDRESS", help="repeatable")
    parser.add_argument("--message-file", type=Path, metavar="F", help="a whole message: its headers and its size")
    parser.add_argument("--header", action="append", default=[], metavar="NAME=TEXT", help="repeatable")
    parser.add_argument("--size", type=number(0, MAX_OCTETS), metavar="OCTETS")
    parser.add_argument("--tag", action="append", default=[], help="repeatable")
    parser.add_argument("--stream", default="")
    parser.add_argument("--credential", metavar="USERNAME")
    parser.add_argument("--message-id", type=UUID, metavar="ID", help="choose among weighted targets as for this one")
    parser.add_argument("--json", action="store_true")


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `rule` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    rules = office.rules
    match asked.verb:
        case "create":
            await rules.create(asked.account, await rule_document(rules, asked) | {"name": asked.name})
            return f"Rule {asked.name} is made; `rule simulate` shows what it does."
        case "set":
            renamed = {"name": asked.rename} if asked.rename else {}
            await rules.change(asked.account, asked.name, await rule_document(rules, asked) | renamed)
            return f"Rule {asked.name} is changed; `rule simulate` shows what it does."
        case "delete":
            await rules.delete(asked.account, asked.name)
            return f"Rule {asked.name} is deleted."
        case "list":
            rows = await rules.all(asked.account)
            return json.dumps(rows) if asked.json else tables.rules(rows)
        case "show":
            return json.dumps(await rules.show(asked.account, asked.name), indent=None if asked.json else 2)
        case _:
            traces = await rules.simulate(asked.account, await _question(rules, asked), asked.to)
            return json.dumps([trace.document() for trace in traces]) if asked.json else tables.traces(traces)


async def _question(rules: Rules, asked: argparse.Namespace) -> Question:
    """The message that is asked about."""
    for address in filter(None, (asked.sender, *asked.to)):
        try:
            parse_mailbox(address)
        except Refused as refused:
            raise ValueError(f"{address!r} is not an address: {refused.reply.text}") from None
    raw = _raw(asked.message_file)
    given = pairs("--header", header_texts("--header", asked.header))
    lines = "".join(f"{name}: {text}\r\n" for name, text in given.items()).encode("utf-8", "replace")
    return Question(
        message_id=asked.message_id or new_id(),
        mail_from=asked.sender,
        size=asked.size if asked.size is not None else len(raw),
        credential_id=await rules.credential(asked.account, asked.credential) if asked.credential else None,
        stream=asked.stream,
        tags=asked.tag,
        header_block=lambda: lines + header_block(raw),
    )


def _raw(path: Path | None) -> bytes:
    if path is None:
        return b""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ValueError(f"--message-file {path}: {error.strerror}") from None
    # Files have the line ends of their system; messages on their way have one kind.
    return raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
