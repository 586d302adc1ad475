"""Structured logs: one JSON object a line on standard output (CORE-OPS-001)."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

Event = MutableMapping[str, Any]

_MASK = "***"
_SECRET_KEYS = ("password", "secret", "token", "authorization", "credential_key", "private_key")


def mask_secrets(_: Any, __: str, event: Event) -> Event:
    """Hide the value of every key that is named like a secret, whoever logged it."""
    for key in event:
        if any(word in key.lower() for word in _SECRET_KEYS):
            event[key] = _MASK
    return event


def configure(service: str, level: str) -> None:
    """Send this process's own log lines, and its libraries' warnings, to standard output as JSON.

    Args:
        service: name of the process, in every line.
        level: least severe level written.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        mask_secrets,
    ]
    structlog.contextvars.bind_contextvars(service=service)
    structlog.configure(
        processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    # Libraries speak only to warn: aiosmtpd logs bodies at DEBUG, botocore logs requests.
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
