"""`key`: what programs and people sign in to the HTTP API and the console with."""

import argparse
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backing.admin.keys import IssuedKey, NewKey
from backing.admin.office import Office
from backing.commands import keeping
from backing.commands.reading import Verbs, number
from backing.commands.tables import table
from backing.ids import now
from mail.keys import Scope


def arguments(verb: Verbs) -> None:
    """Say what `key` takes."""
    create = verb("create", help="make a key; without --account it is an operator's and acts for all accounts")
    create.add_argument("name", help="what it is for")
    _account(create)
    create.add_argument(
        "--scope",
        action="append",
        default=[],
        choices=sorted(Scope),
        metavar="SCOPE",
        help="what it may do, as in messages:read; default: all that it can; repeatable",
    )
    create.add_argument("--rate", type=number(1, 1_000_000), metavar="N", help="requests a minute; default: the API's")
    create.add_argument("--days", type=number(1, 3650), metavar="N", help="how long it is good; default: for ever")
    create.add_argument("--json", action="store_true")
    keeping.argument(create)
    listed = _account(verb("list", help="show the keys of an account, or of operators"))
    listed.add_argument("--json", action="store_true")
    rotate = _account(verb("rotate", help="make a key that takes the place of another; for a while both are good"))
    rotate.add_argument("prefix", help="of the key, as `key list` shows it")
    rotate.add_argument("--overlap-hours", type=number(0, 720), default=24, metavar="N", help="default: 24")
    rotate.add_argument("--json", action="store_true")
    keeping.argument(rotate)
    revoke = _account(verb("revoke", help="let a key be used no more"))
    revoke.add_argument("prefix")


def _account(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--account", metavar="NAME", help="default: keys of operators")
    return parser


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `key` was asked to.

    Raises:
        AdminError: it cannot be done.
    """
    keys = office.keys
    match asked.verb:
        case "create":
            ends = now() + timedelta(days=asked.days) if asked.days else None
            new = NewKey(asked.name, asked.scope, asked.rate, ends)
            return _issued(await keys.create(asked.account, new), as_json=asked.json)
        case "rotate":
            overlap = timedelta(hours=asked.overlap_hours)
            return _issued(await keys.rotate(asked.account, asked.prefix, overlap), as_json=asked.json)
        case "list":
            rows = await keys.of(asked.account)
            return json.dumps(rows, default=str) if asked.json else _listed(rows)
        case _:
            await keys.revoke(asked.account, asked.prefix)
            return f"Key {asked.prefix} is good no more; processes that know it forget it within seconds."


def _issued(key: IssuedKey, *, as_json: bool) -> str:
    if as_json:
        return json.dumps({"prefix": key.prefix, "key": key.token})
    return (
        f"Prefix  {key.prefix}\nKey     {key.token}\nThe key is shown only now; send it as `Authorization: Bearer KEY`."
    )


def _listed(rows: Iterable[Mapping[str, Any]]) -> str:
    lines = [
        (
            row["prefix"],
            row["name"],
            "revoked" if row["revoked_at"] else "expired" if _over(row["expires_at"]) else "good",
            _time(row["expires_at"]),
            _time(row["last_used_at"]),
            " ".join(row["scopes"]),
        )
        for row in rows
    ]
    return table(("PREFIX", "NAME", "STATE", "EXPIRES (UTC)", "LAST USED (UTC)", "SCOPES"), lines)


def _over(at: datetime | None) -> bool:
    return at is not None and at <= now()


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if at else "-"
