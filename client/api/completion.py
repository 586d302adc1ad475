"""Scripts with which shells complete commands, made of the parser."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_FILES: Final = "FILE"


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the command line.

    Attributes:
        path: the noun and verb so far.
        words: what may come next: nouns, verbs, options.
        files: options after which a file's name comes.
        values: options after which any other value comes.
        choices: options after which one of some values comes.
    """

    path: Sequence[str]
    words: Sequence[str]
    files: Sequence[str]
    values: Sequence[str]
    choices: Sequence[tuple[str, Sequence[str]]]

    @property
    def name(self) -> str:
        """The path as one word."""
        return "/".join(self.path)


def script(shell: str, tree: argparse.ArgumentParser) -> str:
    """Write the script.

    Args:
        shell: bash, zsh or fish.
        tree: the parser of the whole command line.
    """
    places = list(_places(tree, ()))
    lines = {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](places)
    return "\n".join(lines) + "\n"


def _places(tree: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[Place]:
    words: list[str] = []
    files: list[str] = []
    values: list[str] = []
    choices: list[tuple[str, Sequence[str]]] = []
    below: dict[str, argparse.ArgumentParser] = {}
    # argparse has no other way to ask it what it knows.
    for action in tree._actions:  # noqa: SLF001
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below = dict(action.choices)
            continue
        words += action.option_strings or map(str, action.choices or ())
        if action.nargs == 0:
            continue
        for flag in action.option_strings:
            if action.choices:
                choices.append((flag, [str(each) for each in action.choices]))
            else:
                (files if action.metavar == _FILES else values).append(flag)
    yield Place(path, [*below, *words], files, values, choices)
    for name, inner in below.items():
        yield from _places(inner, (*path, name))


def _skipped(places: Sequence[Place]) -> list[str]:
    """Options whose value is no noun and no verb."""
    flags = {flag for place in places for flag in (*place.files, *place.values, *(name for name, _ in place.choices))}
    return sorted(flags)


def _known(places: Sequence[Place]) -> list[str]:
    return [f"/{place.name}" for place in places if place.path]


def _bash(places: Sequence[Place]) -> Iterator[str]:
    yield "# bash completion of smtp-proxy"
    yield "_smtp_proxy() {"
    yield "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} here= before= word"
    yield '  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do'
    yield from _walk(places)
    yield "  done"
    yield from _cases(places, "COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))", 'COMPREPLY=($(compgen -f -- "$cur"))')
    yield "}"
    yield "complete -o filenames -F _smtp_proxy smtp-proxy"


def _zsh(places: Sequence[Place]) -> Iterator[str]:
    yield "#compdef smtp-proxy"
    yield "_smtp_proxy() {"
    yield "  local prev=${words[CURRENT-1]} here= before= word"
    yield '  for word in "${(@)words[2,CURRENT-1]}"; do'
    yield from _walk(places)
    yield "  done"
    yield from _cases(places, "compadd -- {words}", "_files")
    yield "}"
    # As a file in fpath it is the body of the function that completes; when it is sourced, it only tells of it.
    yield 'if [[ "$funcstack[1]" == "_smtp-proxy" ]]; then'
    yield '  _smtp_proxy "$@"'
    yield "else"
    yield "  compdef _smtp_proxy smtp-proxy"
    yield "fi"


def _walk(places: Sequence[Place]) -> Iterator[str]:
    """Find out which noun and verb were written; a value of an option is neither."""
    yield '    case "$before" in'
    yield f"      {'|'.join(_skipped(places))}) before=; continue ;;"
    yield "    esac"
    yield "    before=$word"
    yield '    case "$here/$word" in'
    yield f"      {'|'.join(_known(places))}) here=$here/$word ;;"
    yield "    esac"


def _cases(places: Sequence[Place], of_words: str, of_files: str) -> Iterator[str]:
    yield '  case "$here $prev" in'
    for place in places:
        here = f"/{place.name}" if place.path else ""
        for flag, choices in place.choices:
            yield f'    "{here} {flag}") {of_words.format(words=" ".join(choices))}; return ;;'
        for flag in place.files:
            yield f'    "{here} {flag}") {of_files}; return ;;'
        for flag in place.values:
            yield f'    "{here} {flag}") return ;;'
    yield "  esac"
    yield '  case "$here" in'
    for place in places:
        here = f"/{place.name}" if place.path else ""
        yield f'    "{here}") {of_words.format(words=" ".join(place.words))} ;;'
    yield "  esac"


def _fish(places: Sequence[Place]) -> Iterator[str]:
    yield "# fish completion of smtp-proxy"
    yield "function __smtp_proxy_at"
    yield "  set -l here ''"
    yield "  set -l before ''"
    yield "  for word in (commandline -opc)[2..-1]"
    yield f"    if contains -- $before {' '.join(_skipped(places))}"
    yield "      set before ''"
    yield "      continue"
    yield "    end"
    yield "    set before $word"
    yield f"    if contains -- $here/$word {' '.join(_known(places))}"
    yield "      set here $here/$word"
    yield "    end"
    yield "  end"
    yield '  test "$here" = "$argv[1]"'
    yield "end"
    yield "complete -c smtp-proxy -f"
    for place in places:
        at = f"complete -c smtp-proxy -n '__smtp_proxy_at {'/' + place.name if place.path else repr('')}'"
        at = at.replace("''", '""', 1) if not place.path else at
        chosen = dict(place.choices)
        for word in place.words:
            if not word.startswith("-"):
                yield f"{at} -a {word}"
            elif word.startswith("--"):
                yield f"{at} -l {word[2:]}" + _fish_value(word, place, chosen)
            else:
                yield f"{at} -s {word[1:]}"


def _fish_value(word: str, place: Place, chosen: dict[str, Sequence[str]]) -> str:
    if word in chosen:
        return f" -x -a '{' '.join(chosen[word])}'"
    if word in place.files:
        return " -r -F"
    return " -x" if word in place.values else ""
