"""`deadletters`: what the delivery queue has given up. To look at it needs no database; what is done is noted there."""

import argparse
from dataclasses import replace
from datetime import UTC, timedelta
from functools import partial

import orjson
from pydantic import Field

from backing.admin.audit import Audit
from backing.admin.deadletters import DeadLetter, DeadLetters, Redriven
from backing.admin.desk import Desk
from backing.aws import Aws
from backing.commands.office import deed_of
from backing.commands.reading import Verbs, number
from backing.commands.tables import shown, table
from backing.ids import now
from backing.postgres.audit import Deed
from backing.postgres.pool import Database
from backing.settings import Settings, read
from backing.sqs import Queue

MAX_LISTED = 10_000


class DeadLetterSettings(Settings):
    """What the command reads from its environment."""

    queue_url: str = Field(min_length=1, description="URL of the delivery queue.")
    dead_letter_queue_url: str = Field(min_length=1, description="URL of its dead-letter queue.")


def arguments(verb: Verbs) -> None:
    """Say what `deadletters` takes."""
    listed = verb("list", help="show dead letters; meanwhile they are hidden from others")
    listed.add_argument("--most", type=number(1, MAX_LISTED), default=100, metavar="N", help="default: 100")
    listed.add_argument("--json", action="store_true")
    redrive = verb("redrive", help="bring dead letters back to the delivery queue")
    redrive.add_argument("id", nargs="*", metavar="ID", help="of a letter, or of the message in it")
    redrive.add_argument("--all", action="store_true", help="all that are there")
    drop = verb("drop", help="delete a dead letter for good; its message is not delivered")
    drop.add_argument("id", metavar="ID", help="of the letter, or of the message in it")


async def run(asked: argparse.Namespace) -> str:
    """Do what `deadletters` was asked to.

    Raises:
        AdminError, ValueError: it cannot be done, or was asked for in wrong words.
    """
    if asked.verb == "redrive" and asked.all is bool(asked.id):
        raise ValueError("deadletters redrive: give ids, or --all")
    settings = read(DeadLetterSettings)
    aws = Aws(settings.aws_region)
    async with aws.sqs() as sqs, Database(settings, aws).opened() as database:
        letters = DeadLetters(Queue(sqs, settings.dead_letter_queue_url), Queue(sqs, settings.queue_url))
        note = partial(_note, Audit(Desk(database)), deed_of(asked))
        match asked.verb:
            case "list":
                found = await letters.some(asked.most)
                return orjson.dumps(found).decode() if asked.json else _table(found)
            case "redrive":
                return _redriven(await letters.redrive(None if asked.all else asked.id, note))
            case _:
                dropped = await letters.drop(asked.id, note)
                what = f", message {dropped.message}," if dropped.message else ""
                return f"Dead letter {dropped.id}{what} is deleted."


async def _note(audit: Audit, deed: Deed, letter: DeadLetter) -> None:
    await audit.note(
        replace(deed, action=f"deadletter.{deed.action.partition('.')[2]}", subject=letter.subject), letter.account
    )


def _redriven(redriven: Redriven) -> str:
    said = f"{redriven.done} dead letters are on the delivery queue again."
    if redriven.came_back:
        said += f" {redriven.came_back} of them came back meanwhile; `deadletters list` shows why."
    return said


def _table(letters: list[DeadLetter]) -> str:
    head = ("LETTER", "MESSAGE", "ACCOUNT", "QUEUED (UTC)", "AGE", "RECEIVES", "OCTETS", "REASON")
    return table(
        head,
        [
            (
                each.id,
                str(each.message or "-"),
                str(each.account or "-"),
                each.queued_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
                _age(now() - each.queued_at),
                str(each.receives),
                str(each.size),
                shown(each.reason),
            )
            for each in letters
        ],
    )


def _age(age: timedelta) -> str:
    hours, seconds = divmod(max(round(age.total_seconds()), 0), 3600)
    return f"{hours // 24}d{hours % 24:02}h" if hours >= 24 else f"{hours:02}h{seconds // 60:02}m"  # noqa: PLR2004 - a day
