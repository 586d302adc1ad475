"""Structured logs: one JSON object a line on standard output (CORE-OPS-001)."""

import json
import logging
import sys
import time
from collections.abc import MutableMapping
from functools import lru_cache
from typing import Any, ClassVar, Final

import orjson
import structlog
from structlog.processors import format_exc_info
from typing_extensions import override

Event = MutableMapping[str, Any]

_MASK: Final = "***"
# A dataclass decides by itself what it shows.
_AS_THEY_SHOW: Final = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_SUBCLASS
_SECRET_KEYS: Final = ("password", "secret", "token", "authorization", "credential_key", "private_key")


class Logger(structlog.BoundLoggerBase):
    """What writes a process's own lines, if they are severe enough.

    Attributes:
        threshold: the least severe level written, as `logging` numbers it; one for all loggers, whenever made.
    """

    threshold: ClassVar[int] = logging.INFO
    # What it is bound to, as it stands in each of its lines; made for the first of them.
    _bound: bytes | None = None

    def debug(self, event: str, **facts: Any) -> None:
        """Write what helps to look for a fault."""
        if self.threshold <= logging.DEBUG:
            self._write("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        """Write what happened."""
        if self.threshold <= logging.INFO:
            self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        """Write what went wrong and was borne."""
        if self.threshold <= logging.WARNING:
            self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        """Write what went wrong."""
        if self.threshold <= logging.ERROR:
            self._write("error", event, facts)

    def exception(self, event: str, **facts: Any) -> None:
        """Write what went wrong, with the exception that is being handled."""
        self.error(event, exc_info=facts.pop("exc_info", True), **facts)

    def critical(self, event: str, **facts: Any) -> None:
        """Write what ends the process."""
        if self.threshold <= logging.CRITICAL:
            self._write("critical", event, facts)

    def _write(self, level: str, event: str, facts: Event) -> None:
        lines, *_ = self._processors
        if type(lines) is not Lines or not self._context.keys().isdisjoint(facts):
            self._proxy_to_logger(level, event, **facts)
            return
        if self._bound is None:
            self._bound = lines.members(dict(self._context))
        facts["event"] = event
        self._logger.msg(lines.line(level, self._bound, facts))


class Lines(logging.Formatter):
    """Makes a line of an event: one step instead of structlog's chain of them, for the line each message costs.

    Args:
        service: name of the process, in every line.
    """

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service.encode()
        self._second, self._moment = 0, ""

    def __call__(self, _: Any, level: str, event: Event) -> bytes:
        """Write an event of our own."""
        return self.line(level, b"", event)

    def line(self, level: str, bound: bytes, facts: Event) -> bytes:
        """Write an event of our own, of which a part is written already: `members` gave it."""
        if "exc_info" in facts:
            facts = format_exc_info(None, level, facts)
        head = (self._now(), level.encode(), self._service, bound, self.members(facts))
        return b'{"timestamp":"%b","level":"%b","service":"%b"%b%b}' % head

    def members(self, facts: Event) -> bytes:
        """Write facts as members of a JSON object, each after a comma; those that are named like secrets are hidden."""
        for key in secrets_among(tuple(facts)):
            facts[key] = _MASK
        try:
            text = orjson.dumps(facts, default=repr, option=_AS_THEY_SHOW)
        except TypeError:
            # What orjson refuses: numbers of more than 64 bits, halves of characters, keys that are no texts.
            text = json.dumps(facts, default=repr, skipkeys=True).encode()
        return b",%b" % text[1:-1] if len(text) > len(b"{}") else b""

    @override
    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, Any] = {"event": record.getMessage(), "logger": record.name}
        if record.exc_info:
            event["exc_info"] = record.exc_info
        return self(None, record.levelname.lower(), event).decode()

    def _now(self) -> bytes:
        second, microsecond = divmod(time.time_ns() // 1000, 1_000_000)
        if second != self._second:
            self._second, self._moment = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._moment}.{microsecond:06}Z".encode("ascii")


@lru_cache(maxsize=1024)
def secrets_among(keys: tuple[str, ...]) -> tuple[str, ...]:
    """Give the keys that are named like secrets, so that their values are hidden, whoever logged them."""
    return tuple(key for key in keys if any(word in key.lower() for word in _SECRET_KEYS))


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
        logger_factory=structlog.BytesLoggerFactory(sys.stdout.buffer),
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
