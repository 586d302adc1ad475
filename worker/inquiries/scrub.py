"""Takes a provider's secret out of what is told of it, in each form in which it goes over the wire."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from mail.inquiries import Fate, Finding, Verdict

_HIDDEN: Final = "***"
# What is shorter stands in other words by chance.
_LEAST: Final = 4
# Names that go with a secret where the settings name none.
_USERS: Final = ("api", "apikey")


class Scrubber:
    """Hides one secret.

    Args:
        secret: as it is stored, or None.
        config: settings of its provider, which may have the user name.
    """

    def __init__(self, secret: str | None, config: dict[str, Any]) -> None:
        users = {*_USERS, str(config.get("username", ""))}
        forms = {form for text in _parts(secret) for form in _forms(text, users)}
        # The longest first: one may stand within another.
        self._forms = sorted((form for form in forms if len(form) >= _LEAST), key=len, reverse=True)

    def text(self, words: str) -> str:
        """Give words without the secret."""
        for form in self._forms:
            words = words.replace(form, _HIDDEN)
        return words

    def verdict(self, verdict: Verdict) -> Verdict:
        """Give an answer without it."""
        return replace(
            verdict,
            words=self.text(verdict.words),
            steps=tuple(self._finding(each) for each in verdict.steps),
            recipients=tuple(self._fate(each) for each in verdict.recipients),
        )

    def _finding(self, finding: Finding) -> Finding:
        return replace(finding, words=self.text(finding.words))

    def _fate(self, fate: Fate) -> Fate:
        return replace(fate, words=self.text(fate.words))


def _parts(secret: str | None) -> Iterator[str]:
    """A secret, and where it is a JSON object, each that is in it."""
    if not secret:
        return
    yield secret
    try:
        document = json.loads(secret)
    except (ValueError, RecursionError):
        return
    if isinstance(document, dict):
        yield from (value for value in document.values() if isinstance(value, str))


def _forms(text: str, users: set[str]) -> Iterator[str]:
    yield text
    # As AUTH LOGIN, AUTH PLAIN and basic authentication carry it; with postmark it is the user's name as well.
    for written in (text, *(f"\0{user}\0{text}" for user in {*users, text}), *(f"{user}:{text}" for user in users)):
        yield base64.b64encode(written.encode()).decode()
