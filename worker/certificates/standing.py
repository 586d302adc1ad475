"""What is wanted of a certificate, how things stand with it, and what came of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from backing.certificates.bundle import Kept
from backing.certificates.material import BadCertificate, BadKey, Certificate, examine
from backing.certificates.record import Result
from worker.certificates.due import Verdict, Window
from worker.certificates.memory import Memory
from worker.certificates.settings import KeyType


@dataclass(frozen=True, slots=True)
class Wish:
    """What is wanted.

    Attributes:
        names: host names of the certificate.
        source: URL of the ACME server's directory.
        key_type: kind of its key.
        waits: seconds between the attempts of one run (TLS-006).
        interval: time between two runs.
    """

    names: tuple[str, ...]
    source: str
    key_type: KeyType = "ecdsa"
    waits: Sequence[float] = (30, 60, 120, 300)
    interval: timedelta = timedelta(hours=12)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run, in one word and in many."""

    result: Result
    words: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How things are.

    Attributes:
        kept: what is kept, whatever it is; None where nothing is.
        certificate: the same, if it is fit to be served; else why it is not.
        verdict: what is to be done about it.
        memory: what is known from runs before.
        window: what the ACME server says.
        replaced: the certificate that a new order replaces, where this server issued it.
    """

    kept: Kept | None
    certificate: Certificate | str
    verdict: Verdict
    memory: Memory
    window: Window | None
    replaced: Certificate | None


def examined(kept: Kept | None, now: datetime) -> tuple[Certificate | str, str]:
    """Look at what is kept: a certificate that relays serve or why they do not, and where it is from."""
    if kept is None:
        return "there is none", ""
    if isinstance(kept.content, str):
        return kept.content, ""
    try:
        certificate = examine(kept.content.material, now)
        certificate.check_names(kept.content.names)
    except (BadCertificate, BadKey) as fault:
        return str(fault), ""
    return certificate, kept.content.source
