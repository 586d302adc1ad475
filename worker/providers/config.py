"""What the configurations of providers have in common."""

import re
from typing import Annotated, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from yarl import URL

from worker.providers.base import BadConfig, Setup

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_LABEL: Final = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*|::1")


class ProviderConfig(BaseModel):
    """What `provider.config` may hold; unknown keys are refused, and no error shows a value."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def _checked(text: str) -> str:
    try:
        url = URL(text)
    except ValueError:
        raise ValueError("must be a URL") from None
    if not _HOST.fullmatch(url.host or ""):
        raise ValueError("must be a URL with the name of a host")
    if url.scheme != "https" and not (url.scheme == "http" and url.host in LOOPBACK):
        raise ValueError("must begin with https://, since requests carry a secret")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ValueError("must be a URL without user, query and fragment")
    return text.rstrip("/")


Endpoint = Annotated[str, AfterValidator(_checked)]
_Config = TypeVar("_Config", bound=ProviderConfig)


def read_config(model: type[_Config], setup: Setup) -> _Config:
    """Read a configuration as its kind wants it.

    Raises:
        BadConfig: naming each key that is wrong, and how.
    """
    try:
        return model.model_validate(setup.config)
    except ValidationError as error:
        lines = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise BadConfig("; ".join(lines)) from None
