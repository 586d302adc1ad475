"""The accounts that we have at ACME servers, one per directory, as one text."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from backing.certificates.store import Texts


class BadAccounts(Exception):  # noqa: N818 - a fact about a text
    """The text of the accounts is not what it should be."""


@dataclass(frozen=True, slots=True)
class Account:
    """An account at an ACME server.

    Attributes:
        key: PEM, what its requests are signed with.
        uri: its name at the server; empty while it has none yet.
        next_key: PEM, the key that it is just being given; empty otherwise.
    """

    key: str = field(repr=False)
    uri: str = ""
    next_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """What an ACME server gave us so that it knows whose account it is (external account binding, RFC 8555, 7.3.4).

    Attributes:
        kid: name of its key.
        hmac_key: the key, base64url.
    """

    kid: str
    hmac_key: str = field(repr=False)


class AccountBook:
    """Reads and writes accounts.

    The text is `{"accounts": {DIRECTORY: {"key": PEM, "uri": URL}}, "eab": {"kid": ..., "hmac_key": ...}}`; an
    operator may write the `eab` before the first run.

    Args:
        texts: where the text is kept.
        directory: URL of the ACME server that is meant.
    """

    def __init__(self, texts: Texts, directory: str) -> None:
        self._texts = texts
        self._directory = directory

    async def account(self) -> Account | None:
        """Give our account, or None where there is none yet. Raises `BadAccounts`, `Unavailable`."""
        found = (await self._read()).get("accounts", {}).get(self._directory)
        try:
            return Account(str(found["key"]), str(found["uri"]), str(found.get("next_key", ""))) if found else None
        except (KeyError, TypeError, AttributeError):
            raise BadAccounts("the text of ACME accounts lacks `key` or `uri`") from None

    async def binding(self) -> Binding | None:
        """Give what a new account is bound by, or None. Raises `BadAccounts`, `Unavailable`."""
        found = (await self._read()).get("eab")
        try:
            return Binding(str(found["kid"]), str(found["hmac_key"])) if found else None
        except (KeyError, TypeError):
            raise BadAccounts("`eab` in the text of ACME accounts lacks `kid` or `hmac_key`") from None

    async def keep(self, account: Account) -> None:
        """Write an account down. Raises `BadAccounts`, `Unavailable`."""
        document = await self._read()
        document.setdefault("accounts", {})[self._directory] = asdict(account)
        await self._texts.write(json.dumps(document))

    async def _read(self) -> dict[str, Any]:
        text = await self._texts.read()
        try:
            document = json.loads(text or "{}")
        except ValueError:
            raise BadAccounts("the text of ACME accounts is no JSON") from None
        if not isinstance(document, dict):
            raise BadAccounts("the text of ACME accounts is no JSON object")
        return document
