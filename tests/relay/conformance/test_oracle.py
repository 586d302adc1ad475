"""The same dialogues to the relay and to stock aiosmtpd: their replies are of one class, or the reason stands here."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.relay.conformance.player import MAX_BYTES, STATES, wire
from tests.relay.conformance.script import Case, Expect, Send, read
from tests.relay.house import Running

pytestmark = pytest.mark.anyio

# What both have: MAIL, RCPT, DATA and the plain commands. TLS, AUTH, CHUNKING and DSN are the relay's alone.
SHARED = {"commands", "data", "mail", "pipelining", "rcpt"}
BEGINNINGS = {"auth": [], "mail": ["mail"], "rcpt": ["mail", "rcpt"], "data": ["mail", "rcpt", "data"]}
# Where stock aiosmtpd 1.4.6 answers otherwise: why that is right, and the cases as a regular expression.
DIFFERENCES = {
    "it takes bare CR, bare LF and NUL in a message, which lets mail be smuggled to the next hop": (
        r"data: (NUL|bare (LF|CR)|LF CR instead|a refused message ends)|pipelining: the next envelope after a refused"
    ),
    "it takes control octets, bare LF and bare CR in a command (RFC 5321 2.3.8, 4.1.2)": (
        r"commands: (NUL|bell|control|octets above 127 in an arg|LF |CR CR|a whole session behind LF)"
    ),
    "it refuses lines above 512 octets in commands and above 1001 in messages; the relay needs no such limit": (
        r"commands: a line of 1000|data: (a line of 64 KiB|a header line of 10 KiB|a message of exactly the limit)"
    ),
    "it counts stuffed dots (RFC 1870 5 does not)": r"data: stuffed dots do not count",
    "it takes paths that RFC 5321 4.1.2 does not know": (
        r"(mail|rcpt): (quotes that|text behind|no (brackets|domain)|one bracket|brackets that|spaces in|a comment"
        r"|dots in|hyphens|letters that|literals that|the null path is|another name without)"
        r"|pipelining: some recipients refused"
    ),
    "it does not know the limits of RFC 5321 4.5.3.1": (
        r"(mail|rcpt): (a local part of 65|a path that is|an address of 255|a domain of 256|a label of 64)"
    ),
    "it has no accounts, and anybody may send as anybody (RFC 6409 6.1)": (
        r"mail: (a domain (of|below|that)|the wildcard's own|a source route does not|an address literal"
        r"|an at sign in quotes does|a refused MAIL can)|pipelining: a refused MAIL"
    ),
    "it takes addresses outside ASCII without SMTPUTF8, and octets that are not UTF-8 with it": (
        r"(mail|rcpt): an address outside ASCII without|rcpt: an address outside ASCII|mail: octets that"
    ),
    "it finds parameters where there is no space before them, twice the same one, and other scripts' digits": (
        r"mail: (no space before|a parameter twice|SIZE in the digits)"
    ),
    "it does not know AUTH= of MAIL (RFC 4954 5), though it has AUTH": r"mail: (AUTH=(?!.*none)|every parameter)",
    "it has no DSN (RFC 3461) and no REQUIRETLS (RFC 8689)": (
        r"mail: (RET( |$)(?!of)|ENVID (keeps|of 100)|REQUIRETLS$|nothing of the last)"
        r"|rcpt: (NOTIFY( |=)(?!that)|ORCPT (keeps|and|of 500|of an address))"
    ),
    "it has no limit on recipients": r"rcpt: more recipients",
}


class Sink:
    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: ARG002, N802 - aiosmtpd calls it so
        return "250 2.0.0 OK"


@asynccontextmanager
async def stock(case: Case) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to aiosmtpd as it comes, at the case's beginning."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(
            Sink(),
            hostname="stock.test",
            enable_SMTPUTF8=True,
            data_size_limit=MAX_BYTES,
            loop=loop,
        ),
        "127.0.0.1",
        0,
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        await digit(reader)
        for line in (b"EHLO client.example\r\n", *(STATES[state][1][0][0] for state in BEGINNINGS[case.state])):
            writer.write(line)
            assert await digit(reader) in "23"
        yield reader, writer
    finally:
        writer.transport.abort()
        server.close()
        await server.wait_closed()


async def digit(reader: asyncio.StreamReader) -> str:
    """The first digit of a reply; empty at the end of the session."""
    async with asyncio.timeout(10):
        while (line := await reader.readline())[3:4] == b"-":
            pass
    return line[:1].decode()


async def classes(case: Case, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, known: str = "") -> str:
    """The first digits of a case's replies, up to the first one that is not as `known`."""
    heard = ""
    for step in case.steps:
        match step:
            case Send(data):
                writer.write(data)
            case Expect():
                heard += await digit(reader)
                if known and not known.startswith(heard):
                    break
    return heard


CASES = [
    case
    for case in read(Path(__file__).parent)
    if case.mode == "implicit" and case.state in BEGINNINGS and case.name.partition(":")[0] in SHARED
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_reply_classes_agree(running: Running, case: Case) -> None:
    async with wire(running, "implicit") as line:
        await line.reach(case.state)
        ours = await classes(case, *line.streams)
    async with stock(case) as streams:
        theirs = await classes(case, *streams, known=ours)
    if reasons := why(case):
        assert theirs != ours, f"no difference any more: {reasons}"
    else:
        assert theirs == ours


def why(case: Case) -> list[str]:
    return [reason for reason, names in DIFFERENCES.items() if re.match(names, case.name)]


def test_every_reason_has_its_cases_and_no_case_two_reasons() -> None:
    given = [why(case) for case in CASES]
    assert {reason for reasons in given for reason in reasons} == set(DIFFERENCES)
    assert max(map(len, given)) == 1
    assert sum(map(len, given)) < len(given) / 2
