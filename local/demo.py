"""The demo: a hundred mails go through the whole product, and what arrived is what was sent."""

import asyncio
import math
import secrets
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from local import evidence, letters, table
from local.evidence import Arrived, Steps
from local.letters import Kind, Sent
from local.state import Stack

DELIVERY_SECONDS = 60.0


async def demo(stack: Stack) -> int:
    """Use a stack that is healthy; 0 only if every message was accepted, delivered once, and arrived unchanged."""
    with tempfile.TemporaryDirectory() as folder:
        attachment = Path(folder) / "invoice.pdf"
        attachment.write_bytes(b"%PDF-1.7\n" + secrets.token_bytes(letters.ATTACHMENT_BYTES))
        kinds = letters.kinds(attachment)
        print(f"\nSending {sum(kind.count for kind in kinds)} messages through both doors ...", flush=True)
        try:
            sent = await _send(stack, kinds)
        except letters.NotSent as error:
            print(f"error: not everything was accepted\n{error}\nlogs: {stack.log}")
            return 1
    ids = [message.queue_id for message in sent]
    steps = await asyncio.to_thread(evidence.await_outcome, stack, ids, DELIVERY_SECONDS)
    mail = evidence.arrived(stack)
    _tell(kinds, sent, steps, mail)
    wrong = list(faults(sent, steps, mail))
    _timeline(sent[0], steps, mail)
    _where_next(stack)
    print("\n".join(f"FAILED: {fault}" for fault in wrong) or f"All {len(sent)} messages arrived once, byte for byte.")
    return 1 if wrong else 0


async def _send(stack: Stack, kinds: Iterable[Kind]) -> list[Sent]:
    sent: list[Sent] = []
    for kind in kinds:
        # Both come to their end, whatever becomes of one of them.
        runs = await asyncio.gather(*(letters.send(stack, kind, tls) for tls in letters.TLS), return_exceptions=True)
        for run in runs:
            if isinstance(run, BaseException):
                raise run
            sent += run
    return sent


def faults(sent: Iterable[Sent], steps: dict[str, Steps], mail: dict[str, list[Arrived]]) -> Iterator[str]:
    """Name every message that was not delivered, not once, or not as it was sent."""
    for message in sent:
        known, found = steps.get(message.queue_id), mail.get(message.queue_id, [])
        name = f"{message.kind} {message.queue_id}"
        if known is None or known.state != "accepted":
            yield f"{name} is {known.state if known else 'not claimed'}: {known.reply if known else 'no worker has it'}"
        elif len(found) != 1:
            yield f"{name} arrived {len(found)} times"
        elif found[0].sha256 != message.sha256:
            yield f"{name} was changed: sent SHA-256 {message.sha256}, arrived {found[0].sha256}"


def _tell(kinds: Iterable[Kind], sent: Sequence[Sent], steps: dict[str, Steps], mail: dict[str, list[Arrived]]) -> None:
    rows = []
    for kind in kinds:
        messages = [message for message in sent if message.kind == kind.name]
        known = [steps[message.queue_id] for message in messages if message.queue_id in steps]
        same = [m for m in messages if m.sha256 in {found.sha256 for found in mail.get(m.queue_id, [])}]
        accepted = [step for step in known if step.state == "accepted"]
        counts = (len(messages), len(known), len(known), len(accepted), len(same))
        rows.append([kind.name, *map(str, counts), _spread(_delivery(step) for step in accepted)])
    headings = ("KIND", "ACCEPTED", "QUEUED", "CLAIMED", "DELIVERED", "SAME SHA-256", "ACCEPT TO DELIVERED P50 / P95")
    table.show(headings, rows, "\nWhat happened")
    known = list(steps.values())
    phases = (
        ("SMTP: MAIL to 250", [message.milliseconds for message in sent]),
        ("accepted to queued", [_ms(step.accepted_at, step.queued_at) for step in known]),
        ("queued to claimed", [_ms(step.queued_at, step.claimed_at) for step in known]),
        ("claimed to delivered", [_ms(step.claimed_at, step.finished_at) for step in known if step.finished_at]),
    )
    spreads = [[name, *(f"{percentile(v, p):.1f}" for p in (50, 95, 100))] for name, v in phases if v]
    table.show(("MILLISECONDS", "P50", "P95", "MAX"), spreads, "\nHow long it took")


def _timeline(message: Sent, steps: dict[str, Steps], mail: dict[str, list[Arrived]]) -> None:
    step, found = steps.get(message.queue_id), mail.get(message.queue_id)
    if step is None or not found or step.started_at is None or step.finished_at is None:
        return
    rows = (
        (step.accepted_at, "relay", f"took {message.size} bytes over {message.tls} TLS, session {step.session}"),
        (step.queued_at, "SQS", "has the job; the client is told 250 queued as " + message.queue_id),
        (step.claimed_at, "worker", f"{step.worker} wrote it to PostgreSQL and claimed it"),
        (step.started_at, "worker", f"hands it to the provider for {', '.join(found[0].rcpt_tos)}"),
        (step.finished_at, "provider", step.reply or ""),
    )
    lines = [[f"+{_ms(step.accepted_at, at):.1f} ms", who, what] for at, who, what in rows]
    table.show(("", "", ""), [*lines, ["", "sink", str(found[0].file)]], "\nOne message")


def _where_next(stack: Stack) -> None:
    rows = (
        ("mail that was delivered", f"{stack.mail}/new"),
        ("leave it running, and send your own", "make up"),
        ("logs, one line per message and attempt", f"{stack.log}"),
        ("how it works", "docs/how-it-works.md"),
    )
    table.show(("", ""), rows, "\nWhere to look next")
    print()


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the smallest value that `percent` of all do not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def _spread(values: Iterable[float]) -> str:
    known = list(values)
    return f"{percentile(known, 50):.0f} / {percentile(known, 95):.0f} ms" if known else "-"


def _delivery(step: Steps) -> float:
    return _ms(step.accepted_at, step.finished_at) if step.finished_at else math.nan


def _ms(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds() * 1000
