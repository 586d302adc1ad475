"""The command line: what it offers, and what it says."""

import argparse
import shlex
from argparse import SUPPRESS
from collections.abc import Iterator
from typing import Any, Final

from client.api.command import Command, Option
from client.api.nouns import NOUNS

PROGRAM: Final = "smtp-proxy"
SHELLS: Final = ("bash", "zsh", "fish")
_EPILOG: Final = """\
A profile says which API is called, and where its key is: smtp-proxy profile add --help.

exit codes:
  0   done
  1   the API refuses it
  2   the command line, or a file it names, is wrong
  69  the API cannot be reached, or what it leans on does not answer
  77  the key is refused, or may not do this
"""


def reference() -> Iterator[str]:
    """Write all commands as a page of Markdown."""
    for noun in NOUNS:
        yield from ("", f"## {noun.name}", "", _sentence(noun.about))
        for command in noun.commands:
            words = [f"{PROGRAM} {noun.name} {command.verb}"]
            words += [f"{option.flag.upper()}{'...' * option.many}" for option in command.options if option.positional]
            yield from ("", f"### {noun.name} {command.verb}", "", f"`{' '.join(words)}`: {command.about}.")
            rows = [_row(option) for option in command.options]
            rows += ["| `--body FILE` | JSON object with these and all other fields |"] if command.whole else []
            rows += ["| `--all` | all pages from there on |"] if command.pages else []
            if rows:
                yield from ("", "| | |", "|---|---|", *rows)


def _row(option: Option) -> str:
    if option.positional:
        written = option.flag.upper()
    elif option.metavar is None:
        written = option.flag
    else:
        written = f"{option.flag} {'VALUE' if option.choices else option.metavar}"
    values = f": {', '.join(f'`{each}`' for each in option.choices)}" if option.choices else ""
    return f"| `{written.replace('|', ' or ')}` | {option.about}{values} |"


class _Parser(argparse.ArgumentParser):
    """Parses one level; what is not written out in full is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=_Help, allow_abbrev=False, **options)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Of one width, wherever it is shown."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100, max_help_position=32)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = _Parser(
        prog=PROGRAM, description="Do over the HTTP API what an operator or a tenant can do.", epilog=_EPILOG
    )
    _common(root)
    nouns = root.add_subparsers(dest="noun", required=True, metavar="NOUN", parser_class=_Parser)
    for noun in NOUNS:
        verbs = _verbs(nouns.add_parser(noun.name, help=noun.about, description=_sentence(noun.about)))
        for command in noun.commands:
            _command(verbs.add_parser(command.verb, help=command.about, description=_sentence(command.about)), command)
    _profile(nouns.add_parser("profile", help="which API is called", description="Which API is called."))
    words = "print a script that completes commands in a shell"
    completion = nouns.add_parser("completion", help=words, description=_sentence(words))
    completion.add_argument("shell", choices=SHELLS)
    return root


def _verbs(noun: argparse.ArgumentParser) -> Any:
    return noun.add_subparsers(dest="verb", required=True, metavar="VERB", parser_class=_Parser)


def _sentence(about: str) -> str:
    return f"{about[0].upper()}{about[1:]}."


def _common(to: argparse.ArgumentParser) -> None:
    group = to.add_argument_group("for all commands")
    group.add_argument("--profile", default=SUPPRESS, metavar="NAME", help="default: the one in use")
    group.add_argument("--json", action="store_true", default=SUPPRESS, help="print the API's JSON as it is")
    group.add_argument("--ca", default=SUPPRESS, metavar="FILE", help="trust the authorities in this PEM file")
    group.add_argument("--timeout", type=_seconds, default=SUPPRESS, metavar="SECONDS", help="default: 30")


def _command(to: argparse.ArgumentParser, command: Command) -> None:
    for option in command.options:
        _option(to, option)
    if command.whole:
        words = "JSON object with these and all other fields; - is standard input; options come on top"
        to.add_argument("--body", default=SUPPRESS, metavar="FILE", help=words)
    if command.pages:
        to.add_argument("--all", action="store_true", default=SUPPRESS, help="all pages from there on")
    to.set_defaults(command=command)
    _common(to)


def _option(to: argparse.ArgumentParser, option: Option) -> None:
    # argparse takes % for its own.
    options: dict[str, Any] = {"help": option.about.replace("%", "%%"), "default": SUPPRESS}
    if option.metavar is None:
        options |= {"action": "store_const", "const": option.const}
    else:
        options |= {"type": option.read, "choices": option.choices}
    if option.positional:
        if option.many:
            options |= {"nargs": "+" if option.required else "*"}
        elif option.optional:
            options |= {"nargs": "?"}
        to.add_argument(option.dest, metavar=option.flag.upper(), **options)
        return
    if option.metavar is not None:
        options |= {"action": "append" if option.many else "store"}
        options |= {"metavar": None if option.choices and option.metavar == "TEXT" else option.metavar}
    to.add_argument(option.flag, dest=option.dest, required=option.required, **options)


def _profile(noun: argparse.ArgumentParser) -> None:
    verbs = _verbs(noun)
    add = verbs.add_parser("add", help="make or replace a profile", description="Make or replace a profile.")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--url", required=True, help="as in https://api.example.com")
    key = add.add_mutually_exclusive_group(required=True)
    key.add_argument("--key-file", default="", metavar="FILE", help="has the key; nobody else may read it")
    words = "prints the key, as in 'pass show smtp-proxy'"
    key.add_argument("--key-command", type=shlex.split, default=[], metavar="COMMAND", help=words)
    add.add_argument("--ca", dest="authority", default="", metavar="FILE", help="trust its authorities only")
    add.add_argument("--account", default="", metavar="NAME", help="the one meant where none is named")
    words = "let the key go to another machine without TLS"
    add.add_argument("--plain-http", action="store_true", help=words)
    verbs.add_parser("list", help="list profiles", description="List profiles; * is in use.")
    for verb, about in (("use", "use a profile where none is named"), ("remove", "have a profile no more")):
        verbs.add_parser(verb, help=about, description=_sentence(about)).add_argument("name", metavar="NAME")


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number
