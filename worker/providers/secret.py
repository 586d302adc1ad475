"""The one secret of a provider's row: a password or an API key as it is, or a JSON object with more beside it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from backing.provider_configs import SIGNING_KEY_NAME, BadConfig
from worker.providers.base import Setup

# Two names for one thing: what the provider's own pages call it.
_LOGINS: Final = frozenset({"password", "api_key"})
# By which calls are known that tell of events; the HTTP API reads it, nobody here does.
EVENT_KEY: Final = "event_key"
_SIGNING_KEY: Final = re.compile(SIGNING_KEY_NAME)
# A password may begin with a brace, and hardly goes on like this.
_OBJECT: Final = re.compile(r'\s*\{\s*["}]')
_SINGLE_LINE: Final = re.compile(r"[!-~]{1,1000}")


@dataclass(frozen=True, slots=True)
class Secret:
    """What a provider's row keeps secret.

    Attributes:
        login: password or API key, or None.
        signing_keys: private keys for DKIM in PEM, by their names.
    """

    login: str | None = field(default=None, repr=False)
    signing_keys: Mapping[str, str] = field(default_factory=dict, repr=False)


def read_secret(setup: Setup) -> Secret:
    """Read the secret of a provider.

    Raises:
        BadConfig: it begins like a JSON object, and is not one that can be used; shows nothing of it.
    """
    text = setup.secret
    if not text or not _OBJECT.match(text):
        return Secret(text or None)
    return _of_object(_object(text))


def needed_secret(setup: Setup, what: str) -> str:
    """Give the login of a kind that cannot do without.

    Raises:
        BadConfig: there is none, or it is not what such a secret looks like.
    """
    login = read_secret(setup).login
    if not login:
        raise BadConfig(f"secret: it needs {what}, and none is stored")
    if not _SINGLE_LINE.fullmatch(login):
        raise BadConfig(f"secret: {what} has only ASCII letters, digits and signs, without space or line end")
    return login


def _object(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError as error:
        where = f" at line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadConfig(f"secret: it begins like a JSON object and is none{where}") from None
    except RecursionError:
        raise BadConfig("secret: the JSON object is too deep") from None
    if not isinstance(document, dict):
        raise BadConfig("secret: it begins like a JSON object and is none")
    return document


def _of_object(document: Mapping[str, Any]) -> Secret:
    # A name that is not known is not shown: it may be a secret in the wrong place.
    if not all(name in _LOGINS or name == EVENT_KEY or _SIGNING_KEY.fullmatch(name) for name in document):
        raise BadConfig(
            'secret: the JSON object may have "password" or "api_key", "event_key", and "dkim_key"; it has another name'
        )
    if document.keys() >= _LOGINS:
        raise BadConfig('secret: "password" and "api_key" are two names for one thing; the JSON object has both')
    for name, value in document.items():
        if not isinstance(value, str) or not value:
            raise BadConfig(f'secret: "{name}" must be a text that is not empty')
    login = next((document[name] for name in _LOGINS if name in document), None)
    return Secret(login, {name: value for name, value in document.items() if _SIGNING_KEY.fullmatch(name)})
