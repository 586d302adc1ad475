"""Every command in every state of a session, in both TLS modes (RFC 5321 4.1.4, 3207 4.2, 4954 4, 3030 2)."""

import pytest

from tests.relay.conformance.player import play
from tests.relay.conformance.script import MODES, Case, Message, Mode, Send, Step, Turn, expectation
from tests.relay.house import PLAIN, Running

pytestmark = pytest.mark.anyio

# fresh: greeted.  hello: EHLO in the clear.  secure: EHLO under TLS.  auth: signed in.  mail, rcpt: those commands were
# accepted.  chunk: one BDAT was.  Where a standard leaves a choice, all of it stands.
ORDER = """
command             fresh    hello    secure   auth  mail     rcpt  chunk
EHLO client.example 250      250      250      250   250      250   250
HELO client.example 250      250      250      250   250      250   250
STARTTLS            503      220      503      503   503      503   503
AUTH PLAIN          503      538      235      503   503      503   503
MAIL FROM:<>        503|530  530      530      250   503      503   503
RCPT TO:<a@b.test>  503|530  503|530  503|530  503   250      250   503
DATA                503|530  503|530  503|530  503   503|554  354   503
BDAT 4 LAST         503|530  503|530  503|530  503   503|554  250   250
RSET                250      250      250      250   250      250   250
NOOP                250      250      250      250   250      250   250
VRFY postmaster     252      252      252      252   252      252   252
EXPN staff          502      502      502      502   502      502   502
HELP                214      214      214      214   214      214   214
XYZZY               500      500      500      500   500      500   500
QUIT                221      221      221      221   221      221   221
"""
ARGUMENTS = {"AUTH PLAIN": f"AUTH PLAIN {PLAIN}\r\n".encode(), "BDAT 4 LAST": b"BDAT 4 LAST\r\nHi\r\n"}


def cases() -> list[Case]:
    heading, *rows = ORDER.strip().splitlines()
    states = heading.split()[1:]
    found: list[Case] = []
    for row in rows:
        cells = row.split()[-len(states) :]
        command = row[: heading.index("fresh")].rstrip()
        for state, reply in zip(states, cells, strict=True):
            found.extend(case(command, state, reply, mode) for mode in MODES if (mode, state) != ("implicit", "hello"))
    return found


def case(command: str, state: str, reply: str, mode: Mode) -> Case:
    silent = command[:4] in {"EHLO", "HELO"}  # RFC 2034 3: no enhanced code here
    steps: list[Step] = [
        Send(ARGUMENTS.get(command, f"{command}\r\n".encode())),
        expectation(f"{reply} -" if silent else reply),
    ]
    queued: list[Message] = []
    match reply:
        case "220":
            steps.append(Turn("tls"))
        case "221":
            steps.append(Turn("close"))
        case "354":
            steps += [Send(b"Hi\r\n.\r\n"), expectation("250")]
            queued.append(_message(b"Hi\r\n"))
        case "250" if command.startswith("BDAT"):
            queued.append(_message(b"Hi\r\nHi\r\n" if state == "chunk" else b"Hi\r\n"))
    return Case(f"{command} in {state}", "5321 4.1.4", state, mode, tuple(steps), tuple(queued))


def _message(body: bytes) -> Message:
    return Message(("me@example.com",), (("you@example.net",),), body)


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.mode} {case.name}")
async def test_command_in_state(running: Running, case: Case) -> None:
    await play(case, running)
