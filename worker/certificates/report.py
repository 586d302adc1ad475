"""How a certificate stands, as everybody may know it who asks the API."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from backing.certificates.bundle import Bundle
from backing.certificates.material import BadCertificate
from backing.certificates.record import Record, Result
from worker.certificates.standing import Standing


def report(host: str, standing: Standing, result: Result, now: datetime) -> Record:
    """Write down how things stand at the end of a run.

    Args:
        host: the first of the names that are wanted.
        standing: as it was seen then.
        result: what came of the run.
        now: what time it is.
    """
    kept, memory = standing.kept, standing.memory
    record = Record(
        host=host,
        version=kept.version if kept else None,
        fault=standing.certificate if isinstance(standing.certificate, str) else None,
        due_at=standing.verdict.at,
        due_because=standing.verdict.why,
        checked_at=now,
        result=result,
        failures=memory.failures,
        failure=memory.reason or None,
    )
    return _described(record, kept.content) if kept and isinstance(kept.content, Bundle) else record


def _described(record: Record, bundle: Bundle) -> Record:
    # What is no certificate at all says nothing of itself, and has its fault already.
    with suppress(BadCertificate):
        record = record.of(bundle.material.chain)
    return replace(record, source=bundle.source)
