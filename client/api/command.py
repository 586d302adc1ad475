"""What a command is made of: one operation of the API, and how people name what goes into it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from client.api.values import text

Given = Mapping[str, Any]


class Place(Enum):
    """Where in a request a value goes."""

    PATH = auto()
    QUERY = auto()
    BODY = auto()
    HEADER = auto()
    NOWHERE = auto()


@dataclass(frozen=True, slots=True)
class Option:
    """A word of the command line.

    Attributes:
        flag: as it is written; without dashes it stands at its position.
        place: where its value goes.
        name: what the API calls it; `/` separates the levels of a body.
        about: for the help.
        read: makes the value of what was written.
        many: may be given more than once.
        required: has to be given.
        optional: at its position, need not be given.
        choices: the values that there are.
        metavar: what help calls the value; None for a switch without one.
        const: what a switch means.
        default: what it is when it is not given; None leaves it out.
    """

    flag: str
    place: Place
    name: str
    about: str = field(kw_only=True)
    read: Callable[[str], Any] = field(default=text, kw_only=True)
    many: bool = field(default=False, kw_only=True)
    required: bool = field(default=False, kw_only=True)
    optional: bool = field(default=False, kw_only=True)
    choices: Sequence[str] | None = field(default=None, kw_only=True)
    metavar: str | None = field(default="TEXT", kw_only=True)
    const: Any = field(default=True, kw_only=True)
    default: Any = field(default=None, kw_only=True)

    @property
    def positional(self) -> bool:
        """Whether it stands at its position."""
        return not self.flag.startswith("-")

    @property
    def dest(self) -> str:
        """Its name among what was given; never one of the common options."""
        return f"given_{self.flag.lstrip('-').replace('-', '_')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is sent.

    Attributes:
        path: below `/api/v1`, with its values filled in.
        body: octets, as they are sent.
        headers: besides the key.
        repeatable: whether doing it twice does no more than doing it once.
        name: by which people can have it repeated.
    """

    method: str
    path: str
    query: Sequence[tuple[str, str]] = ()
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeatable: bool = False
    name: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """A list, of which people see some columns; a column is a field of an item."""

    columns: Sequence[str]


class Shape(Enum):
    """How else an answer is shown to people."""

    FACTS = auto()
    STORY = auto()
    TRACES = auto()
    NUMBERS = auto()
    OCTETS = auto()
    CHECK = auto()


@dataclass(frozen=True, slots=True)
class Said:
    """An answer that is told in a sentence; it may name what was given and what is answered.

    Attributes:
        noted: what is said instead of what was not done yet, but is noted.
    """

    words: str
    noted: str = ""


Build = Callable[["Command", Given], Iterator[Request]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A verb of a noun.

    Attributes:
        shows: how its answer is shown to people.
        build: makes its requests, if that takes more than the table says.
        whole: whether its body can be read from a file with `--body`.
        secret: whether its answer has something that is shown only now.
        follows: whether its answer is asked for again until it has come to an end; with `--no-wait` it is not.
        pages: the query's name for the cursor of the page after, of a list that comes in pages.
    """

    verb: str
    about: str
    method: str
    path: str
    options: Sequence[Option] = ()
    shows: Table | Said | Shape = Shape.FACTS
    build: Build | None = None
    whole: bool = False
    secret: bool = False
    follows: bool = False
    pages: str | None = None


@dataclass(frozen=True, slots=True)
class Noun:
    """What commands are about."""

    name: str
    about: str
    commands: Sequence[Command]
