"""Structured logs: one JSON object a line on standard output (CORE-OPS-001)."""

import json
import logging
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, ClassVar, Final

import structlog
from structlog.processors import format_exc_info
from typing_extensions import override

Event = MutableMapping[str, Any]

_MASK: Final = "***"
_SECRET_KEYS: Final = ("password", "secret", "token", "authorization", "credential_key", "private_key")


class Logger(structlog.BoundLoggerBase):
    """What writes a process's own lines, if they are severe enough.

    Attributes:
        threshold: the least severe level written, as `logging` numbers it; one for all loggers, whenever made.
    """

    threshold: ClassVar[int] = logging.INFO

    def debug(self, event: str, **facts: Any) -> None:
        """Write what helps to look for a fault."""
        if self.threshold <= logging.DEBUG:
            self._proxy_to_logger("debug", event, **facts)

    def info(self, event: str, **facts: Any) -> None:
        """Write what happened."""
        if self.threshold <= logging.INFO:
            self._proxy_to_logger("info", event, **facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write what went wrong and was borne."""
        if self.threshold <= logging.WARNING:
            self._proxy_to_logger("warning", event, **facts)

    def error(self, event: str, **facts: Any) -> None:
        """Write what went wrong."""
        if self.threshold <= logging.ERROR:
            self._proxy_to_logger("error", event, **facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Write what went wrong, with the exception that is being handled."""
        self.error(event, exc_info=facts.pop("exc_info", True), **facts)

    def critical(self, event: str, **facts: Any) -> None:
        """Write what ends the process."""
        if self.threshold <= logging.CRITICAL:
            self._proxy_to_logger("critical", event, **facts)


class Lines(logging.Formatter):
    """Makes a line of an event: one step instead of structlog's chain of them, for the line each message costs.

    Args:
        service: name of the process, in every line.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._second, self._moment = 0, ""
        self._encode = json.JSONEncoder(separators=(",", ":"), default=repr).encode

    def __call__(self, _: Any, level: str, event: Event) -> str:
        """Write an event of our own."""
        if "exc_info" in event:
            event = format_exc_info(None, level, event)
        for key in event:
            if names_secret(key):
                event[key] = _MASK
        return self._encode({"timestamp": self._now(), "level": level, "service": self._service, **event})

    @override
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        return self(None, record.levelname.lower(), event)

    def _now(self) -> str:
        second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
        if second != self._second:
            self._second, self._moment = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._moment}.{microsecond:06}Z"


@lru_cache(maxsize=1024)
def names_secret(key: str) -> bool:
    """Whether a key is named like a secret, so that its value is hidden, whoever logged it."""
    return any(word in key.lower() for word in _SECRET_KEYS)


def configure(service: str, level: str) -> None:
    """Send this process's own log lines, and its libraries' warnings, to standard output as JSON.

    Args:
        service: name of the process, in every line.
        level: least severe level written.
    """
    set_level(level)
    lines = Lines(service)
    structlog.configure(
        processors=[lines],
        wrapper_class=Logger,
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(lines)
    # Libraries speak only to warn: aiosmtpd logs bodies at DEBUG, botocore logs requests.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)


def unraisable(fault: "sys.UnraisableHookArgs") -> None:
    """Write that an exception came up where nobody could catch it: a hook for `sys`, which would print all of it.

    A client can cause one, such as by a server name that is not ASCII; what it sent does not belong in the log.
    """
    structlog.get_logger().warning("exception that nobody could catch", kind=fault.exc_type.__name__)


def set_level(level: str) -> None:
    """Change the least severe level written of this process's own lines, at once and for sessions that go on, too."""
    Logger.threshold = logging.getLevelNamesMapping()[level]
