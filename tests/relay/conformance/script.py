"""Dialogues as text: what a client sends, what it must hear, and what must be queued afterwards.

A file has cases that begin with `== name`. Lines before the first case are the file's defaults. A line is one of

    rfc: 5321 4.1.1.2       where the rule stands             state: mail     how far the session is (player.STATES)
    modes: starttls         the TLS modes it makes sense in; both without it
    C: text                 the client sends a line           O: octets       it sends octets, nothing added
    B: octets               one BDAT chunk with its length    L: octets       the same with LAST
    cut:                    what follows goes in another write
    S: 250 2.1.0 /regexp/   a reply: code, enhanced code, text of the first line; the last two may be absent
    has: AUTH PLAIN         a keyword of the EHLO reply before, with these parameters among its own
    only: SIZE 10           the same with exactly these           lacks: STARTTLS
    tls:                    the client does its TLS handshake
    close:                  the server ends the session, and says nothing more
    Q: <from> RET=HDRS      a message that must be queued     to: <rcpt> NOTIFY=NEVER      body: octets

Client lines that stand together are one write. A code is `250`, `5xx`, or several with `|`. An enhanced code is
`5.5.4`, `5.1.x`, or `-` for none; without it any of the code's class will do. `C*100:` repeats a line, `{n}` counts.
`C starttls:` is for one mode only. `{x*64}` repeats, `{b64:...}` encodes; \\r \\n \\t \\0 \\\\ \\xNN are octets,
everything else is UTF-8.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Mode = Literal["starttls", "implicit"]
MODES: tuple[Mode, ...] = ("starttls", "implicit")
_LINE = re.compile(r"(?P<kind>\w+)(?:\*(?P<times>\d+))?(?: (?P<mode>starttls|implicit))?:(?: (?P<text>.*))?")
_REPLY = re.compile(r"(?P<codes>\S+)(?: (?P<enhanced>[245]\.[\dx]+\.[\dx]+|-))?(?: /(?P<text>.*)/)?")
_ESCAPE = re.compile(rb"\\(r|n|t|0|\\|x[0-9a-f]{2})")
_ESCAPES = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}


@dataclass(frozen=True)
class Send:
    octets: bytes


@dataclass(frozen=True)
class Expect:
    """A reply: `codes` and `enhanced` with `x` for any digit; an enhanced code of None is any of the right class."""

    codes: tuple[str, ...]
    enhanced: str | None = None
    text: str | None = None

    def admits(self, code: str) -> bool:
        return any(re.fullmatch(wanted.replace("x", r"\d"), code) for wanted in self.codes)


@dataclass(frozen=True)
class Keyword:
    name: str
    parameters: frozenset[str] = frozenset()
    offered: bool = True
    exact: bool = False


@dataclass(frozen=True)
class Turn:
    what: Literal["cut", "tls", "close"]


Step = Send | Expect | Keyword | Turn


@dataclass(frozen=True)
class Message:
    """What must be queued: the path with its parameters as sent, the recipients with theirs, the octets."""

    sender: tuple[str, ...]
    recipients: tuple[tuple[str, ...], ...] = ()
    body: bytes | None = None


@dataclass(frozen=True)
class Case:
    name: str
    rfc: str
    state: str
    mode: Mode
    steps: tuple[Step, ...]
    queued: tuple[Message, ...] = ()


@dataclass
class _Draft:
    name: str
    facts: dict[str, str]
    lines: list[re.Match[str]] = field(default_factory=list)


def octets(text: str) -> bytes:
    """Read the notation of a client's line."""
    text = re.sub(r"\{([^{}*]+)\*(\d+)\}", lambda m: m[1] * int(m[2]), text)
    text = re.sub(r"\{b64:([^{}]*)\}", lambda m: base64.b64encode(_unescaped(m[1])).decode(), text)
    return _unescaped(text)


def _unescaped(text: str) -> bytes:
    return _ESCAPE.sub(lambda m: _ESCAPES.get(m[1]) or bytes.fromhex(m[1][1:].decode()), text.encode())


def read(folder: Path) -> Iterator[Case]:
    """All cases of all dialogue files, once for each mode."""
    for path in sorted(folder.glob("*.dialogue")):
        for draft in _drafts(path):
            for mode in MODES:
                if mode in draft.facts.get("modes", " ".join(MODES)).split():
                    yield _case(draft, mode)


def _drafts(path: Path) -> Iterator[_Draft]:
    defaults: dict[str, str] = {}
    draft: _Draft | None = None
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("== "):
            if draft:
                yield draft
            draft = _Draft(f"{path.stem}: {line[3:]}", dict(defaults))
            continue
        match = _LINE.fullmatch(line)
        assert match, f"{path.name}:{number}: {line}"
        if match["kind"] in {"rfc", "state", "modes"}:
            (draft.facts if draft else defaults)[match["kind"]] = match["text"]
        else:
            assert draft, f"{path.name}:{number}: no case yet"
            draft.lines.append(match)
    if draft:
        yield draft


def _case(draft: _Draft, mode: Mode) -> Case:
    steps: list[Step] = []
    queued: list[Message] = []
    for line in draft.lines:
        if line["mode"] in {None, mode}:
            for n in range(1, int(line["times"] or 1) + 1):
                text = (line["text"] or "").replace("{n}", str(n))
                if line["kind"] in {"Q", "to", "body"}:
                    _queue(queued, line["kind"], text)
                else:
                    steps.append(_step(line["kind"], text))
    return Case(draft.name, draft.facts["rfc"], draft.facts["state"], mode, tuple(steps), tuple(queued))


def _step(kind: str, text: str) -> Step:
    if kind in {"cut", "tls", "close"}:
        return Turn(kind)  # type: ignore[arg-type]  # one of the three, as just seen
    if kind == "S":
        return expectation(text)
    if kind in {"has", "only", "lacks"}:
        name, *parameters = text.split()
        return Keyword(name, frozenset(parameters), offered=kind != "lacks", exact=kind == "only")
    return Send(_sent(kind, text))


def _sent(kind: str, text: str) -> bytes:
    data = octets(text)
    match kind:
        case "C":
            return data + b"\r\n"
        case "O":
            return data
        case "B":
            return b"BDAT %d\r\n%b" % (len(data), data)
        case "L":
            return b"BDAT %d LAST\r\n%b" % (len(data), data)
    raise AssertionError(f"no such line: {kind}")


def expectation(text: str) -> Expect:
    match = _REPLY.fullmatch(text)
    assert match, text
    return Expect(tuple(match["codes"].split("|")), match["enhanced"], match["text"])


def _queue(queued: list[Message], kind: str, text: str) -> None:
    if kind == "Q":
        queued.append(Message(tuple(_parts(text))))
        return
    last = queued.pop()
    if kind == "to":
        queued.append(Message(last.sender, (*last.recipients, tuple(_parts(text))), last.body))
    else:
        queued.append(Message(last.sender, last.recipients, octets(text)))


def _parts(text: str) -> list[str]:
    """A path in angle brackets, which may have spaces, and the words after it, sorted."""
    path, _, rest = text.rpartition(">")
    return [octets(path[1:]).decode(), *sorted(rest.split())]
