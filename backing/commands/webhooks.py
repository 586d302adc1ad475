"""`webhook`: where an account is told what becomes of its mail."""

import argparse
import json
from datetime import timedelta
from uuid import UUID

from backing.admin.office import Office
from backing.admin.parts import Part
from backing.admin.webhooks import IssuedEndpoint, Webhooks
from backing.commands import tables
from backing.commands.office import ACTOR
from backing.commands.reading import Verbs, moment, number
from backing.ids import now
from mail.account_events import ALL_TYPES


def arguments(verb: Verbs) -> None:
    """Say what `webhook` takes."""
    create = verb("create", help="give an account an endpoint")
    create.add_argument("account")
    create.add_argument("url", help="https; what is posted to")
    _types(create, "default: all")
    create.add_argument("--json", action="store_true")
    listed = verb("list", help="show the endpoints of an account")
    listed.add_argument("account")
    listed.add_argument("--json", action="store_true")
    show = _one(verb("show", help="show all about an endpoint but its secret, and what became of its newest events"))
    show.add_argument("--most", type=number(1, 1000), default=20, metavar="N", help="events; default: 20")
    show.add_argument("--json", action="store_true")
    change = _one(verb("set", help="change where an endpoint is, or what it is told of"))
    change.add_argument("--url", help="https; what waits for it is posted there")
    _types(change.add_mutually_exclusive_group(), "instead of those before").add_argument(
        "--all-types", action="store_true", help="it wants all events"
    )
    rotate = _one(verb("rotate", help="give an endpoint another secret; for a while the old one signs as well"))
    rotate.add_argument("--overlap-hours", type=number(0, 720), default=24, metavar="N", help="default: 24")
    rotate.add_argument("--json", action="store_true")
    _one(verb("enable", help="post to an endpoint again"))
    _one(verb("disable", help="post to an endpoint no more; the account's events are kept and can be replayed"))
    _one(verb("delete", help="remove an endpoint"))
    replay = _one(verb("replay", help="post an account's events of a time to an endpoint once more"))
    replay.add_argument("--since", type=moment, required=True, metavar="TIME", help="2h is two hours ago")
    replay.add_argument("--until", type=moment, metavar="TIME", help="default: now")
    reseal = verb("reseal", help="have secrets sealed anew by a worker, by the KMS key that is configured now")
    reseal.add_argument("--account", metavar="NAME", help="whose; default: of all accounts")
    _one(verb("test", help="post an event of no message to an endpoint"))


def _one(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("account")
    parser.add_argument("id", type=UUID, metavar="ID", help="of the endpoint, as `webhook list` shows it")
    return parser


def _types(parser: "argparse._ActionsContainer", otherwise: str) -> "argparse._ActionsContainer":
    parser.add_argument(
        "--type",
        action="append",
        default=[],
        choices=sorted(ALL_TYPES),
        metavar="TYPE",
        help=f"events it wants, as in recipient.bounced; {otherwise}; repeatable",
    )
    return parser


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `webhook` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    webhooks = office.webhooks
    match asked.verb:
        case "create":
            return _issued(await webhooks.create(asked.account, asked.url, asked.type), as_json=asked.json)
        case "rotate":
            overlap = timedelta(hours=asked.overlap_hours)
            return _issued(await webhooks.rotate(asked.account, asked.id, overlap), as_json=asked.json)
        case "list":
            rows = await webhooks.of(asked.account)
            return json.dumps(rows) if asked.json else tables.endpoints(rows)
        case "show":
            row = await webhooks.show(asked.account, asked.id)
            posts = await webhooks.deliveries(asked.account, asked.id, Part(asked.most))
            return json.dumps(row | {"newest": posts}) if asked.json else tables.endpoint(row, posts)
        case "reseal":
            count = await office.inquiries.reseal_endpoints(asked.account, ACTOR)
            return f"The secrets of {count} endpoints are to be sealed anew; they stay the same."
        case verb:
            return await _CHANGES[verb](webhooks, asked)


async def _set(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    types = [] if asked.all_types else asked.type or None
    if asked.url is None and types is None:
        raise ValueError("say what is to be changed: --url, --type or --all-types")
    await webhooks.change(asked.account, asked.id, asked.url, types)
    return f"Endpoint {asked.id} is changed."


async def _enable(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    await webhooks.enable(asked.account, asked.id)
    return f"Endpoint {asked.id} is posted to again; `webhook replay` posts what it has missed."


async def _disable(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    await webhooks.disable(asked.account, asked.id)
    return f"Endpoint {asked.id} is posted to no more; events are kept and can be replayed to it."


async def _delete(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    await webhooks.delete(asked.account, asked.id)
    return f"Endpoint {asked.id} is removed."


async def _replay(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    until = asked.until or now()
    if until <= asked.since:
        raise ValueError(f"--until {until.isoformat()}: is not after --since {asked.since.isoformat()}")
    count = await webhooks.replay(asked.account, asked.id, asked.since, until)
    return f"{count} events are posted to endpoint {asked.id} once more, beside those that wait already."


async def _test(webhooks: Webhooks, asked: argparse.Namespace) -> str:
    event = await webhooks.test(asked.account, asked.id)
    return f"Event {event} is on its way to endpoint {asked.id}; `webhook show` tells what became of it."


_CHANGES = {
    "set": _set,
    "enable": _enable,
    "disable": _disable,
    "delete": _delete,
    "replay": _replay,
    "test": _test,
}


def _issued(endpoint: IssuedEndpoint, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"id": str(endpoint.id), "secret": endpoint.secret})
    return (
        f"Endpoint  {endpoint.id}\nSecret    {endpoint.secret}\n"
        "The secret is shown only now; posts are signed with it as Standard Webhooks describes."
    )
