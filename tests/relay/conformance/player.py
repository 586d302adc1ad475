"""Plays a case against a running relay and judges every octet that comes back."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from mail.job import Job, StoredBody, decode
from tests.relay.conformance.script import Case, Expect, Keyword, Message, Mode, Send, Turn, expectation
from tests.relay.house import PLAIN, Running

PATIENCE = 10.0
MAX_BYTES, MAX_RECIPIENTS = 100_000, 100  # limits that the dialogues speak of
MAX_REPLY_LINE = 512  # RFC 5321 4.5.3.1.5, CRLF included
# How far a session is when its case begins: each state is the one before it and one more exchange.
STATES: dict[str, tuple[str, list[tuple[bytes, str]]]] = {
    "raw": ("", []),
    "fresh": ("raw", [(b"", "220 -")]),
    "hello": ("fresh", [(b"EHLO client.example\r\n", "250 -")]),
    "secure": ("hello", []),  # STARTTLS and another EHLO where the session is not TLS from the start
    "auth": ("secure", [(f"AUTH PLAIN {PLAIN}\r\n".encode(), "235 2.7.0")]),
    "mail": ("auth", [(b"MAIL FROM:<me@example.com>\r\n", "250 2.1.0")]),
    "rcpt": ("mail", [(b"RCPT TO:<you@example.net>\r\n", "250 2.1.5")]),
    "data": ("rcpt", [(b"DATA\r\n", "354")]),
    "chunk": ("rcpt", [(b"BDAT 4\r\nHi\r\n", "250")]),
}
PROOF = b"Subject: proof\r\n\r\nThe stream is in step.\r\n"
PROOF_QUEUED = Message(("proof@example.com",), (("proof@example.net",),), PROOF)


@dataclass(frozen=True)
class Reply:
    code: str
    texts: tuple[str, ...]

    @property
    def refusal(self) -> bool:
        return self.code[0] in "45"


class Wire:
    """One connection; reads replies, and accepts none that breaks the form of RFC 5321 4.2 and RFC 2034."""

    def __init__(
        self, running: Running, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mode: Mode
    ) -> None:
        self._running, self._reader, self._writer = running, reader, writer
        self.streams = reader, writer
        self.secure, self.signed_in = mode == "implicit", False

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def rest(self) -> None:
        """Let the loop turn a few times, so that what was written goes out, and is read, alone."""
        for _ in range(5):
            await asyncio.sleep(0)

    async def start_tls(self) -> None:
        await self._writer.start_tls(self._running.trust, server_hostname="localhost")
        self.secure = True

    async def reply(self) -> Reply:
        lines: list[str] = []
        while not lines or lines[-1][3] == "-":
            lines.append(await self._line())
        assert len({line[:3] for line in lines}) == 1, f"one code on all lines: {lines}"
        return Reply(lines[0][:3], tuple(line[4:] for line in lines))

    async def _line(self) -> str:
        async with asyncio.timeout(PATIENCE):
            line = await self._reader.readline()
        assert line, "the session ended where a reply was due"
        assert re.fullmatch(rb"[2-5][0-5][0-9][ -][\x20-\x7e]*\r\n", line), f"not the form of a reply: {line!r}"
        assert len(line) <= MAX_REPLY_LINE, f"{len(line)} octets: {line!r}"
        return line.decode("ascii").rstrip("\r\n")

    async def expect(self, wanted: Expect) -> Reply:
        reply = await self.reply()
        assert wanted.admits(reply.code), f"wanted {wanted}, heard {reply}"
        assert wanted.text is None or re.search(wanted.text, reply.texts[0]), f"wanted {wanted}, heard {reply}"
        if wanted.enhanced != "-" and reply.code[0] != "3":
            pattern = (wanted.enhanced or f"{reply.code[0]}.x.x").replace(".", r"\.").replace("x", r"\d{1,3}")
            for text in reply.texts:
                assert re.match(rf"{pattern} \S", text), f"wanted {wanted}, heard {reply}"
                assert text[0] == reply.code[0], f"the classes differ: {reply}"
        self.signed_in |= reply.code == "235"
        return reply

    async def ask(self, line: bytes, wanted: str) -> Reply:
        await self.send(line)
        return await self.expect(expectation(wanted))

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE):
            rest = await self._reader.read()
        assert rest == b"", f"more than was due: {rest!r}"

    async def close(self) -> None:
        """Hang up in good order: what was sent still arrives."""
        self._writer.close()
        await self._writer.wait_closed()

    async def reach(self, state: str) -> None:
        before, exchanges = STATES[state]
        if before:
            await self.reach(before)
        if state == "secure" and not self.secure:
            await self.ask(b"STARTTLS\r\n", "220")
            await self.start_tls()
            await self.ask(b"EHLO client.example\r\n", "250 -")
        for line, wanted in exchanges:
            await self.ask(line, wanted)

    async def prove(self) -> None:
        """Show that the stream is in step: nothing is left over, and a message goes through."""
        await self.ask(b"NOOP\r\n", "250 2.0.0")
        await self.ask(b"RSET\r\n", "250 2.0.0")
        if not self.signed_in:
            await self.ask(b"EHLO proof.example\r\n", "250 -")
            if not self.secure:
                await self.ask(b"STARTTLS\r\n", "220")
                await self.start_tls()
                await self.ask(b"EHLO proof.example\r\n", "250 -")
            await self.ask(f"AUTH PLAIN {PLAIN}\r\n".encode(), "235 2.7.0")
        await self.ask(b"MAIL FROM:<proof@example.com>\r\n", "250 2.1.0")
        await self.ask(b"RCPT TO:<proof@example.net>\r\n", "250 2.1.5")
        await self.ask(b"DATA\r\n", "354")
        await self.ask(PROOF + b".\r\n", "250 2.x.x")
        await self.ask(b"QUIT\r\n", "221 2.0.0")
        await self.ended()


@asynccontextmanager
async def wire(running: Running, mode: Mode) -> AsyncIterator[Wire]:
    tls = {"ssl": running.trust, "server_hostname": "localhost"} if mode == "implicit" else {}
    port = running.port(implicit_tls=mode == "implicit")
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **tls)  # type: ignore[arg-type]  # stubs know no **
    try:
        yield Wire(running, reader, writer, mode)
    finally:
        writer.transport.abort()


async def play(case: Case, running: Running) -> None:
    """Play a case, prove that the stream is in step (unless the session ended), and compare what was queued."""
    before = len(running.queue.sent)
    async with wire(running, case.mode) as line:
        await line.reach(case.state)
        if ended := await _dialogue(case, line):
            await line.ended()
        else:
            await line.prove()
    jobs = [decode(message.text) for message in running.queue.sent[before:]]
    wanted = case.queued if ended else (*case.queued, PROOF_QUEUED)
    senders = [job.mail_from for job in jobs]
    assert senders == [message.sender[0] for message in wanted], f"queued from {senders}"
    for job, message in zip(jobs, wanted, strict=True):
        queued = _seen(_message(job, running, message))
        assert queued == _seen(message), f"wanted {_seen(message)}, queued {queued}"


async def _dialogue(case: Case, line: Wire) -> bool:
    """The case's own steps; whether the session is at its end."""
    replies: list[Reply] = []
    unsent = b""
    for step in (*case.steps, Send(b"")):
        if isinstance(step, Send):
            await _in_step(line, replies)
            replies, unsent = [], unsent + step.octets
            continue
        if unsent:
            await line.send(unsent)
            unsent = b""
        match step:
            case Expect():
                replies.append(await line.expect(step))
            case Keyword():
                _check_keyword(step, replies[-1])
            case Turn("cut" | "tls" as what):
                await (line.rest() if what == "cut" else line.start_tls())
            case Turn("close"):
                return True
    return False


async def _in_step(line: Wire, replies: list[Reply]) -> None:
    """After a refusal nothing may be left over: one NOOP has one reply."""
    if any(reply.refusal for reply in replies) and replies[-1].code[0] != "3":
        await line.ask(b"NOOP\r\n", "250 2.0.0")


def _check_keyword(wanted: Keyword, reply: Reply) -> None:
    offered: dict[str, frozenset[str]] = {}
    for text in reply.texts[1:]:
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*(?: [\x21-\x7e]+)*", text), f"RFC 5321 4.1.1.1: {text!r}"
        name, *values = text.split(" ")
        assert name not in offered, f"twice: {reply}"
        offered[name] = frozenset(values)
    assert (wanted.name in offered) == wanted.offered, f"{wanted}: {reply}"
    parameters = offered.get(wanted.name, frozenset())
    assert wanted.parameters <= parameters, f"{wanted}: {reply}"
    assert wanted.parameters == parameters or not wanted.exact, f"{wanted}: {reply}"


def _message(job: Job, running: Running, wanted: Message) -> Message:
    """A job in the terms of a case; only what the case speaks of."""
    body = running.bodies.stored[job.body.key] if isinstance(job.body, StoredBody) else job.body
    trace = re.match(rb"Received: [^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", body)
    assert trace, f"RFC 5321 4.4, a Received line is put in front: {body[:80]!r}"
    facts_of_body = (len(body), trace.end(), hashlib.sha256(body[trace.end() :]).digest())
    assert (job.size, job.head, job.sha256) == facts_of_body, "size, head and digest are the body's"
    assert job.smtputf8 or trace[0].isascii(), f"RFC 6531 3.7.3: {trace[0]!r}"
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", trace[0]), f"control octets: {trace[0]!r}"
    facts = {"RET": _keyword(job.ret), "ENVID": job.envid}
    sender = [job.mail_from, *sorted(f"{name}={value}" for name, value in facts.items() if value is not None)]
    for name, flag in (("SMTPUTF8", job.smtputf8), ("8BIT", job.eight_bit), ("REQUIRETLS", job.require_tls)):
        if flag and name in wanted.sender:
            sender.append(name)
    recipients = []
    for recipient in job.recipients:
        facts = {"NOTIFY": _keyword(recipient.notify), "ORCPT": recipient.orcpt}
        parameters = sorted(f"{name}={value}" for name, value in facts.items() if value is not None)
        recipients.append((recipient.address, *parameters))
    return Message(
        (sender[0], *sorted(sender[1:])),
        tuple(recipients) if wanted.recipients else (),
        body[trace.end() :] if wanted.body is not None else None,
    )


def _seen(message: Message) -> tuple[object, ...]:
    """A message so that a difference can be read, however long the body."""
    if message.body is None:
        return message.sender, message.recipients
    digest = hashlib.sha256(message.body).hexdigest()
    return message.sender, message.recipients, len(message.body), message.body[:200], message.body[-200:], digest


def _keyword(value: str | None) -> str | None:
    """The values of RET and NOTIFY are keywords, and mean the same in any case (RFC 3461 4)."""
    return value.upper() if value is not None else None
