"""The demo's mail: kinds of messages, and the client's runs that send them."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local import settings, tenant
from local.state import Stack

ATTACHMENT_BYTES = 30_000
LARGE_BYTES = 5_000_000


@dataclass(frozen=True, slots=True)
class Kind:
    """Messages that are alike: what they show, how many, and the words that make the client write them."""

    name: str
    count: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sent:
    """One message that the relay has accepted, as the client tells it."""

    kind: str
    tls: str
    queue_id: str
    size: int
    sha256: str
    milliseconds: float


class NotSent(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The relay did not accept all of it; keeps what the client said."""


TLS = {"starttls": "RELAY_STARTTLS_PORT", "implicit": "RELAY_TLS_PORT"}


def kinds(attachment: Path) -> tuple[Kind, ...]:
    """Return a hundred messages: each kind half by STARTTLS, half by implicit TLS."""
    to = ("--to", "someone-{{index}}@example.net")
    hello = ("--text", "Hello,\n\nthis is message {{index}} of the demo.\n.\n..a line that begins with two dots\n")
    html = ("--html", "<h1>Invoice {{index}}</h1><p>See the attachment.</p>", "--attach", str(attachment))
    umlauts = ("--text", "Grüße aus Köln, Ελλάδα und 東京: {{uuid}}\n")
    return (
        Kind("text", 40, (*to, "--subject", "Text {{index}}", *hello)),
        Kind("HTML, attachment", 24, (*to, "--subject", "Invoice {{index}}", "--text", "See the attachment.", *html)),
        Kind("8-bit", 16, (*to, "--subject", "Grüße {{index}}", *umlauts)),
        Kind("SMTPUTF8", 16, ("--to", "grün-{{index}}@bücher.example", "--subject", "An für {{to}}", *umlauts)),
        Kind("5 MB", 4, (*to, "--subject", "Large {{index}}", "--text", "Much.", "--size", str(LARGE_BYTES))),
    )


async def send(stack: Stack, kind: Kind, tls: str) -> list[Sent]:
    """Send half of a kind through one of the two doors.

    Raises:
        NotSent: a message was not accepted.
    """
    process = await asyncio.create_subprocess_exec(
        *command(stack, tls),
        *("--count", str(kind.count // 2), "--json", "--concurrency", "2", *kind.words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=settings.ROOT,
    )
    try:
        out, err = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        await process.wait()
        raise
    if process.returncode:
        raise NotSent(f"{kind.name}, {tls}: {err.decode().strip()}\n{_errors(out)}".rstrip())
    return list(_accepted(json.loads(out), kind.name, tls))


def command(stack: Stack, tls: str, verb: str = "batch") -> tuple[str, ...]:
    """Return the words that send mail through a stack as its own account."""
    return (settings.python(), "-m", "client", verb, *server(stack, tls), "--from", "demo@local.example")


def server(stack: Stack, tls: str) -> tuple[str, ...]:
    """Return the client's options for one of the two doors."""
    account = tenant.of(stack.state_dir)
    return (
        *("--host", "localhost", "--port", str(stack.ports[TLS[tls]]), "--tls", tls, "--ca", str(stack.ca_file)),
        *("--user", account.username if account else tenant.NAME),
        *("--password-file", str(tenant.password_file(stack.state_dir))),
    )


def first_mail(stack: Stack) -> str:
    """Return a command to paste."""
    letter = ("--from", "app@local.example", "--to", "someone@example.net", "--subject", "Hello", "--text", "It works.")
    return shlex.join((settings.client(), "send", *server(stack, "starttls"), *letter))


def _accepted(document: dict[str, Any], kind: str, tls: str) -> Iterator[Sent]:
    for message in document["messages"]:
        spent = message["timings_ms"]["send"]
        yield Sent(kind, tls, message["queue_id"], message["bytes"], message["sha256"], spent)


def _errors(out: bytes) -> str:
    try:
        errors = json.loads(out)["summary"]["errors"]
    except (ValueError, KeyError):
        return out.decode(errors="replace")
    return "\n".join(f"{error['count']} x {error['error']}" for error in errors)
