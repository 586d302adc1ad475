"""How the configuration of a provider is read."""

from typing import TypeVar

from backing.provider_configs import ProviderConfig, parsed
from worker.providers.base import Setup

_Config = TypeVar("_Config", bound=ProviderConfig)


def read_config(model: type[_Config], setup: Setup) -> _Config:
    """Read a configuration as its kind wants it.

    Raises:
        BadConfig: naming each key that is wrong, and how.
    """
    return parsed(model, setup.config)
