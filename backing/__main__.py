"""`python -m backing`: the operator's command, run as a one-off task of the worker's image."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import structlog

from backing.admin.desk import AdminError
from backing.admin.office import Office
from backing.commands import (
    accounts,
    credentials,
    deadletters,
    keeping,
    keys,
    messages,
    prepare,
    providers,
    rules,
    schema,
    suppressions,
    transcript,
    webhooks,
)
from backing.commands.office import AdminSettings, deed_of, opened
from backing.commands.reading import Verbs
from backing.postgres.migrate import WrongSchema
from backing.secrets import BadSecret
from backing.settings import ConfigurationError, read
from mail.errors import Unavailable

EX_FAILED, EX_USAGE, EX_UNAVAILABLE, EX_CONFIG = 1, 2, 69, 78

Takes = Callable[[Verbs], None]
Does = Callable[[Office, argparse.Namespace], Awaitable[str]]

# What an operator changes: what it is, what its verbs take, what they do.
NOUNS: Final[Mapping[str, tuple[str, Takes, Does]]] = {
    "account": ("tenants", accounts.arguments, accounts.run),
    "credential": ("SMTP users", credentials.arguments, credentials.run),
    "key": ("what the HTTP API and the console are used with", keys.arguments, keys.run),
    "provider": ("where mail goes out", providers.arguments, providers.run),
    "rule": ("which mail goes out where", rules.arguments, rules.run),
    "suppression": ("addresses that an account does not send to", suppressions.arguments, suppressions.run),
    "message": ("mail: its story, and what is done with it", messages.arguments, messages.run),
    "webhook": ("where an account is told of its mail", webhooks.arguments, webhooks.run),
}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line; a mistake ends the process with 2 and says what was expected."""
    parser = argparse.ArgumentParser(
        prog="python -m backing", description="Schema, accounts, providers, rules, mail under way, dead letters."
    )
    nouns = parser.add_subparsers(dest="noun", required=True)

    def verbs(noun: str, words: str) -> Verbs:
        return nouns.add_parser(noun, help=words).add_subparsers(dest="verb", required=True).add_parser

    nouns.add_parser("prepare", help="before a release: schema, database roles, credential key; may be repeated")
    schema.arguments(verbs("migrate", "bring the schema up or down"))
    for noun, (words, takes, _) in NOUNS.items():
        takes(verbs(noun, words))
    deadletters.arguments(verbs("deadletters", "what the delivery queue has given up"))
    overheard = nouns.add_parser("transcript", help="show what is said in SMTP sessions from now on, without secrets")
    transcript.arguments(overheard)
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Do what the command line says; 0 done, 1 refused, 2 usage, 69 something is down, 78 configuration."""
    asked = parse(arguments)
    try:
        said = _do(asked)
    except (AdminError, BadSecret, WrongSchema) as error:
        return _fail(EX_FAILED, f"{error}")
    except ValueError as error:
        return _fail(EX_USAGE, f"{error}")
    except Unavailable as error:
        return _fail(EX_UNAVAILABLE, f"{error}")
    except ConfigurationError as error:
        return _fail(EX_CONFIG, f"{error}")
    sys.stdout.write(said + "\n")
    return 0


def _do(asked: argparse.Namespace) -> str:
    match asked.noun:
        case "prepare":
            return prepare.run()
        case "migrate":
            return schema.run(asked)
        case "deadletters":
            return asyncio.run(deadletters.run(asked))
        case "transcript":
            try:
                return asyncio.run(transcript.run(asked))
            except KeyboardInterrupt:
                return "stopped"
        case _:
            return asyncio.run(_change(asked))


async def _change(asked: argparse.Namespace) -> str:
    settings = read(AdminSettings)
    async with opened(settings, deed_of(asked)) as office:
        does = partial(NOUNS[asked.noun][2], office, asked)
        return await (keeping.kept(settings, asked, does) if getattr(asked, "to_secret", None) else does())


def _fail(code: int, text: str) -> int:
    sys.stderr.write(f"error: {text}\n")
    return code


if __name__ == "__main__":
    # What is wrong is said in words of the command's own.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    sys.exit(main(sys.argv[1:]))
