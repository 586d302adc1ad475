"""`migrate`: the schema, up and down."""

import argparse
import asyncio

from backing.aws import Aws
from backing.commands.reading import Verbs
from backing.postgres import migrate
from backing.postgres.pool import sign_in
from backing.settings import Settings, read


def arguments(verb: Verbs) -> None:
    """Say what `migrate` takes."""
    verb("up", help="apply what is missing").add_argument("revision", nargs="?", default="head")
    verb("down", help="take back, down to a revision").add_argument("revision", help="`base` is none")
    verb("current", help="show the revision")


def run(asked: argparse.Namespace) -> str:
    """Do what `migrate` was asked to."""
    settings = read(Settings)
    chosen = asyncio.run(sign_in(settings, Aws(settings.aws_region)))
    # A migration may rewrite a table; only its wait for locks is bounded.
    target = migrate.Target(settings.database_url, chosen | {"options": ""})
    match asked.verb:
        case "up":
            return f"The schema is at {migrate.upgrade(target, asked.revision)}."
        case "down":
            return f"The schema is at {migrate.downgrade(target, asked.revision)}."
        case _:
            return migrate.current(target)
