"""New settings for a running process (CORE-OPS-002): read again at SIGHUP, checked, and taken where they may be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from prometheus_client import Counter
from pydantic_settings import BaseSettings

from backing.settings import ConfigurationError, checked, reloadable

S = TypeVar("S", bound=BaseSettings)


@dataclass(frozen=True, slots=True)
class Change(Generic[S]):
    """What a reload makes of the settings.

    Attributes:
        settings: the ones to go on with.
        taken: keys that have a new value now.
        waiting: keys that will have theirs after a restart.
    """

    settings: S
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def change(old: S, new: S) -> Change[S]:
    """Take from new settings what a running process may take.

    Raises:
        ConfigurationError: it does not go with what stays as it is until a restart.
    """
    kind = type(old)
    differing = {name for name in kind.model_fields if getattr(old, name) != getattr(new, name)}
    takes = differing & reloadable(kind)
    values = {name: getattr(new if name in takes else old, name) for name in kind.model_fields}
    return Change(checked(kind, **values), _keys(takes), _keys(differing - takes))


class Reload(Generic[S]):
    """Reads the settings anew when it is called; bad ones change nothing.

    Args:
        read: reads them; raises `ConfigurationError`.
        settings: the ones of now.
        take: puts new ones in their place.
        reloads: counts reloads by result: taken, refused.
    """

    def __init__(self, read: Callable[[], S], settings: S, take: Callable[[S], None], reloads: Counter) -> None:
        self._read = read
        self._settings = settings
        self._take = take
        self._reloads = reloads
        self._log = structlog.get_logger()

    def __call__(self) -> None:
        """Reload; values are never logged, only keys."""
        try:
            result = change(self._settings, self._read())
        except ConfigurationError as fault:
            self._reloads.labels("refused").inc()
            self._log.error("settings not reloaded", reason=str(fault))
            return
        self._settings = result.settings
        self._take(result.settings)
        self._reloads.labels("taken").inc()
        self._log.info("settings reloaded", taken=result.taken, needs_a_restart=result.waiting)


def _keys(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name.upper() for name in names))
