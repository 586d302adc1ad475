"""What is wanted of a certificate, how things stand with it, and what came of a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from backing.certificates.material import Certificate
from worker.certificates.due import Verdict, Window
from worker.certificates.memory import Memory
from worker.certificates.settings import KeyType

Result = Literal["renewed", "kept", "waiting", "busy", "failed"]


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
        certificate: what is kept, if it is fit to be served; else why it is not.
        verdict: what is to be done about it.
        memory: what is known from runs before.
        window: what the ACME server says.
        replaced: the certificate that a new order replaces, where this server issued it.
    """

    certificate: Certificate | str
    verdict: Verdict
    memory: Memory
    window: Window | None
    replaced: Certificate | None
