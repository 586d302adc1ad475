"""What a check of a provider notes as it goes: the steps, how long each took, and what was found."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from mail.inquiries import Finding
from worker.providers.base import Failed, clean


class Stage(StrEnum):
    """The steps that there are."""

    SECRET = "secret"  # noqa: S105 - the name of a step
    SETTINGS = "settings"
    RESOLVE = "resolve"
    CONNECT = "connect"
    GREETING = "greeting"
    TLS = "TLS"
    SIGN_IN = "sign-in"
    ACCOUNT = "account"
    SEND = "send"


_SILENT: Final = "no answer in time"


class Trail:
    """The steps of one check, in the order in which they were made.

    Attributes:
        findings: what came of them; only the last one can have failed.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    @contextmanager
    def step(self, stage: Stage) -> Iterator[list[str]]:
        """Note a step; the block adds to its words, and what it raises makes them the reason why it failed."""
        began, said = time.monotonic(), list[str]()
        try:
            yield said
        except BaseException as fault:
            self._note(stage, began, _reason(fault), ok=False)
            raise
        self._note(stage, began, "; ".join(said), ok=True)

    def _note(self, stage: Stage, began: float, words: str, *, ok: bool) -> None:
        self.findings.append(Finding(stage, ok, time.monotonic() - began, clean(words)))


def _reason(fault: BaseException) -> str:
    """Say why, in the peer's words where it has some."""
    if isinstance(fault, Failed):
        code = f"{fault.answer.code} " if fault.answer.code else ""
        return f"{code}{fault.answer.text}"
    if isinstance(fault, asyncio.CancelledError | TimeoutError) and not str(fault):
        return _SILENT
    return str(fault) or type(fault).__name__
