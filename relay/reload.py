"""New settings for a running relay (CORE-OPS-002): read again at SIGHUP, checked, and taken where they may be."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from backing.metrics import RelayMetrics
from backing.settings import ConfigurationError, checked, reloadable
from relay.settings import RelaySettings


@dataclass(frozen=True, slots=True)
class Change:
    """What a reload makes of the settings.

    Attributes:
        settings: the ones to go on with.
        taken: keys that have a new value now.
        waiting: keys that will have theirs after a restart.
    """

    settings: RelaySettings
    taken: tuple[str, ...]
    waiting: tuple[str, ...]


def change(old: RelaySettings, new: RelaySettings) -> Change:
    """Take from new settings what a running relay may take.

    Raises:
        ConfigurationError: it does not go with what stays as it is until a restart.
    """
    differing = {name for name in RelaySettings.model_fields if getattr(old, name) != getattr(new, name)}
    takes = differing & reloadable(RelaySettings)
    values = {name: getattr(new if name in takes else old, name) for name in RelaySettings.model_fields}
    settings = checked(RelaySettings, **values)
    return Change(settings, _keys(takes), _keys(differing - takes))


class Reload:
    """Reads the settings anew when it is called; bad ones change nothing.

    Args:
        read: reads them; raises `ConfigurationError`.
        current: gives the settings of now.
        take: puts new ones in their place.
        metrics: where reloads are counted.
    """

    def __init__(
        self,
        read: Callable[[], RelaySettings],
        current: Callable[[], RelaySettings],
        take: Callable[[RelaySettings], None],
        metrics: RelayMetrics,
    ) -> None:
        self._read = read
        self._current = current
        self._take = take
        self._metrics = metrics
        self._log = structlog.get_logger()

    def __call__(self) -> None:
        """Reload; values are never logged, only keys."""
        try:
            result = change(self._current(), self._read())
        except ConfigurationError as fault:
            self._metrics.reloads.labels("refused").inc()
            self._log.error("settings not reloaded", reason=str(fault))
            return
        self._take(result.settings)
        self._metrics.reloads.labels("taken").inc()
        self._log.info("settings reloaded", taken=result.taken, needs_a_restart=result.waiting)


def _keys(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name.upper() for name in names))
