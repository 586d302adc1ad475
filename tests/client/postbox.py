"""A real SMTP server in a thread of its own, and the real client as a process of its own."""

import asyncio
import io
import json
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from client.__main__ import main

ROOT = Path(__file__).parents[2]
USER, PASSWORD = "app", "s3cret pässword"
Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Received:
    """A message as it arrived."""

    sender: str
    recipients: list[str]
    content: bytes
    options: list[str]
    user: str | None
    encrypted: bool
    connection: object

    @property
    def text(self) -> str:
        return self.content.decode("utf-8")


@dataclass
class Postbox:
    """What the server does with addresses and credentials; and what it has received."""

    received: list[Received] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)
    port: int = 0

    def last(self) -> Received:
        return self.received[-1]

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's name
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        del server, envelope
        session.host_name = hostname
        self.connections.append(session.peer)
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session
        if address.startswith("banned@"):
            return "553 5.7.1 You may not send as this"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if address.startswith("unknown"):
            return "550 5.1.1 No such user"
        if address.startswith("later"):
            return "450 4.2.0 Try again later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        content = envelope.content
        assert isinstance(content, bytes)
        if b"X-Spam: yes" in content:
            return "554 5.7.1 We do not want this"
        if b"X-Hang: yes" in content:
            await asyncio.Event().wait()
        login: Any = session.auth_data  # whatever the authenticator gave
        user = login.login.decode() if isinstance(login, LoginPassword) else None
        assert envelope.mail_from is not None
        self.received.append(
            Received(
                envelope.mail_from,
                list(envelope.rcpt_tos),
                content,
                list(envelope.mail_options),
                user,
                server.transport is not None and server.transport.get_extra_info("ssl_object") is not None,
                session.peer,
            )
        )
        return f"250 2.0.0 OK: queued as msg-{len(self.received)}"

    def authenticate(self, server: SMTP, session: Session, envelope: Envelope, method: str, data: Any) -> AuthResult:
        del server, session, envelope, method
        good = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=good, handled=False, auth_data=data)


@contextmanager
def in_a_thread(start: Callable[[], Coroutine[Any, Any, asyncio.Server]]) -> Iterator[int]:
    """Run a server in a loop of its own and give its port."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def stop() -> None:
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@contextmanager
def postbox(
    *,
    starttls: ssl.SSLContext | None = None,
    implicit: ssl.SSLContext | None = None,
    no_auth: tuple[str, ...] = (),
    smtputf8: bool = True,
) -> Iterator[Postbox]:
    """Run an SMTP server: with STARTTLS, with TLS from the first byte, or with neither."""
    box = Postbox()

    async def start() -> asyncio.Server:
        loop = asyncio.get_running_loop()

        def protocol() -> SMTP:
            return SMTP(
                box,
                hostname="mx.test",
                tls_context=starttls,
                require_starttls=starttls is not None,
                auth_require_tls=starttls is not None,
                auth_exclude_mechanism=no_auth,
                authenticator=box.authenticate,
                enable_SMTPUTF8=smtputf8,
                data_size_limit=50_000_000,
                loop=loop,
            )

        return await loop.create_server(protocol, "127.0.0.1", 0, ssl=implicit)

    with in_a_thread(start) as box.port:
        yield box


@contextmanager
def conversation(talk: Conversation) -> Iterator[int]:
    """Run a server that says exactly what a test wants it to."""

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(guarded, "127.0.0.1", 0)

    with in_a_thread(start) as port:
        yield port


@dataclass(frozen=True)
class Finished:
    """A client that has ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


def command(*words: str, password: str | None = None, script: Path | None = None) -> list[str]:
    """Return what starts the client, with a password in its environment or certainly none."""
    program = ["-m", "client"] if script is None else [str(script)]
    secret = "--unset=SMTP_CLIENT_PASSWORD" if password is None else f"SMTP_CLIENT_PASSWORD={password}"
    # Whoever was started in the background of a shell has SIGINT ignored, and would hand that on.
    return ["env", "--default-signal=INT", secret, f"PYTHONPATH={ROOT}", sys.executable, *program, *words]


def client(*words: str, stdin: str = "", password: str | None = None, script: Path | None = None) -> Finished:
    """Run smtp-client to its end."""
    line = command(*words, password=password, script=script)
    done = subprocess.run(line, input=stdin, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    return Finished(done.returncode, done.stdout, done.stderr)


def inside(*words: str) -> Finished:
    """Do the same within this process: quicker, and every warning is an error here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as end:  # argparse
            code = int(str(end.code))
    return Finished(code, out.getvalue(), err.getvalue())


def to(port: int, *words: str) -> list[str]:
    """The words that every message needs."""
    return ["--host", "localhost", "--port", str(port), "--from", "app@example.com", "--to", "you@example.org", *words]
