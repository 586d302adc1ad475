"""Runs a command: its requests to the API, and what is shown of the answers."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from client.api.building import requests
from client.api.command import Command, Given, Request, Said, Shape, Table
from client.api.errors import ApiError, RefusedError, UnreachableError
from client.api.output import facts, grid, on_terminal, printable, table
from client.api.story import check, numbers, story, traces
from client.api.transport import Answer, AnsweredError, Line
from client.api.waiting import ended, went_well

_TEXTS: Final = {Shape.STORY: story, Shape.TRACES: traces, Shape.NUMBERS: numbers, Shape.CHECK: check}


def run_command(command: Command, given: Given, line: Line, account: str) -> None:
    """Do it.

    Args:
        command: which one.
        given: what was written.
        line: the way to the API.
        account: the one that is meant where none is named; empty is none.

    Raises:
        ApiError: it was not done, or not wholly.
    """
    given = _with_account(command, given, account)
    answers: list[Answer] = []
    try:
        for request in requests(command, given):
            for answer in _followed(command, given, request, line):
                _pass_on(command, given, answer)
                answers.append(answer)
    except AnsweredError as error:
        if "json" in given:
            _out(error.answer.body + b"\n")
        raise _after(answers, error.fault) from None
    except UnreachableError as error:
        raise _after(answers, error) from error
    if "json" not in given and command.shows is not Shape.OCTETS:
        _show(command, given, answers)
    if command.follows and not went_well(answers[-1]):
        raise RefusedError("it did not go well; what came of it is told above")


def _pass_on(command: Command, given: Given, answer: Answer) -> None:
    """Print an answer as it is, where that is asked for."""
    if command.shows is Shape.OCTETS:
        _out(answer.body)
    elif answer.body:
        _told(answer)
        _out(answer.body + b"\n" if "json" in given else b"")


def _followed(command: Command, given: Given, request: Request, line: Line) -> Iterator[Answer]:
    """Give the answers to a request, and of what somebody works on, the one at its end."""
    for answer in _pages(command, given, request, line):
        yield ended(request, answer, line) if command.follows and "given_no_wait" not in given else answer


def _with_account(command: Command, given: Given, account: str) -> Given:
    """Mean the profile's account where none is named; an empty name is none, even so."""
    if not any(option.flag == "--account" for option in command.options):
        return given
    named = given.get("given_account", account)
    rest = {key: value for key, value in given.items() if key != "given_account"}
    return {**rest, "given_account": named} if named else rest


def _pages(command: Command, given: Given, request: Request, line: Line) -> Iterator[Answer]:
    """Ask for a page, and with --all, for all that follow."""
    while True:
        try:
            answer = line.send(request)
        except UnreachableError as error:
            raise _unsure(request, error) from error
        except AnsweredError as error:
            if isinstance(error.fault, UnreachableError):
                error.fault = _unsure(request, error.fault)
            raise
        yield answer
        following = _told(answer).get("next") if command.pages and "all" in given else None
        if following is None:
            return
        rest = [(name, value) for name, value in request.query if name != command.pages]
        request = replace(request, query=[*rest, (str(command.pages), following)])


def _unsure(request: Request, error: UnreachableError) -> UnreachableError:
    """Say what is to be done where nobody knows whether it was done."""
    if request.method == "GET":
        return error
    if request.name:
        return UnreachableError(f"{error}; repeat it with --idempotency-key {request.name}, and it is done once")
    return UnreachableError(f"{error}; it may have been done all the same")


def _after(answers: Sequence[Answer], fault: ApiError) -> ApiError:
    """Say that there were parts before the one that was refused, which stay done."""
    done = sum(_count(answer.document) for answer in answers)
    return type(fault)(f"{fault} (after {done} that were taken)") if done else fault


def _count(told: Any) -> int:
    return int(told.get("count", 0)) if isinstance(told, dict) else 0


def _show(command: Command, given: Given, answers: Sequence[Answer]) -> None:
    shows = command.shows
    if isinstance(shows, Said):
        told = answers[-1].document if answers and answers[-1].body else None
        words = shows.noted if shows.noted and isinstance(told, dict) and told.get("noted") else shows.words
        print(printable(words.format_map(_filled(command, given, answers))))
        return
    told = _told(answers[-1])
    if isinstance(shows, Table):
        _list(shows, [item for answer in answers for item in _told(answer)["items"]], told.get("next"))
    else:
        write = _TEXTS.get(shows)
        print("\n".join(write(told) if write else facts(told, answers[-1].headers.get("etag"))))
    if command.secret:
        _aside("the secret is shown only now")


def _told(answer: Answer) -> dict[str, Any]:
    if not isinstance(answer.document, dict):
        raise UnreachableError("what answers is not the API: is the URL of the profile right?")
    return answer.document


def _list(shows: Table, items: Sequence[Mapping[str, Any]], following: str | None) -> None:
    rows = table(shows.columns, items)
    if not items and not following:
        _aside("there are none")
    elif not (sys.stdout.isatty() and on_terminal(rows)):
        print("\n".join(grid(rows)))
    if following:
        _aside(f"there are more: --cursor {printable(following)}, or --all")


def _filled(command: Command, given: Given, answers: Sequence[Answer]) -> dict[str, str]:
    """What a sentence may name: what was given, and over it what was answered, of several answers the sum."""
    found = {option.name: given[option.dest] for option in command.options if option.dest in given}
    for answer in answers:
        for name, value in (_told(answer) if answer.body else {}).items():
            is_sum = type(value) is int and type(found.get(name)) is int
            found[name] = found[name] + value if is_sum else value
    return {name: _said(value) for name, value in found.items()}


def _said(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _aside(words: str) -> None:
    """Tell what is no part of the answer."""
    sys.stdout.flush()
    print(words, file=sys.stderr)


def _out(octets: bytes) -> None:
    sys.stdout.flush()
    sys.stdout.buffer.write(octets)
    sys.stdout.buffer.flush()
