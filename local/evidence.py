"""What happened to mail: its steps as PostgreSQL tells them, and the bytes that arrived."""

import hashlib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import LiteralString

import psycopg

from local import mailbox
from local.state import Stack

POLL_SECONDS = 0.1
STEPS: LiteralString = """
SELECT m.id::text, m.session, m.accepted_at, m.queued_at, m.claimed_at, a.started_at, a.finished_at, a.worker, r.reply,
       r.state
FROM message m JOIN recipient r ON r.message_id = m.id JOIN delivery d ON d.id = r.delivery_id
LEFT JOIN attempt a ON a.delivery_id = d.id AND a.n = d.attempts
WHERE m.id::text = ANY(%s)
"""
# Our one header: it names the message, and all before the client's first byte belongs to it.
RECEIVED = re.compile(rb"\AReceived:(?:[^\r\n]|\r\n[ \t])*?\sid ([0-9a-f-]{36})(?:[^\r\n]|\r\n[ \t])*\r\n")


@dataclass(frozen=True, slots=True)
class Steps:
    """One message's way, for one recipient."""

    id: str
    session: str
    accepted_at: datetime
    queued_at: datetime
    claimed_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    worker: str | None
    reply: str | None
    state: str


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message in the sink: its file, and the digest of what the client wrote."""

    file: Path
    sha256: str
    rcpt_tos: tuple[str, ...]


def await_outcome(stack: Stack, ids: Sequence[str], seconds: float) -> dict[str, Steps]:
    """Wait until every recipient has been accepted by the provider, or the time is over; give what is known then."""
    address = stack.environment["DATABASE_URL"]
    with psycopg.connect(address, passfile=stack.environment["PGPASSFILE"], autocommit=True) as connection:
        deadline = time.monotonic() + seconds
        while True:
            found = [Steps(*row) for row in connection.execute(STEPS, [list(ids)])]
            done = {steps.id for steps in found if steps.state == "accepted"}
            if len(done) == len(set(ids)) or time.monotonic() > deadline:
                return {steps.id: steps for steps in found}
            time.sleep(POLL_SECONDS)


def arrived(stack: Stack) -> dict[str, list[Arrived]]:
    """Give the sink's mail by the id in our Received header; more than one under an id is a duplicate."""
    found: dict[str, list[Arrived]] = {}
    for mail in mailbox.received(stack.mail):
        header = RECEIVED.match(content := mail.content)
        if header:
            digest = hashlib.sha256(content[header.end() :]).hexdigest()
            entry = Arrived(mail.file, digest, mail.envelope.rcpt_tos)
            found.setdefault(header.group(1).decode(), []).append(entry)
    return found
