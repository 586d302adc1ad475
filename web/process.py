"""A door as a process: start, serve, drain, stop; gives the exit status."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

import structlog
import uvloop
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from backing import health, log
from backing.emf import Emf, standard_output
from backing.postgres.schema import migrated
from backing.reload import Reload
from backing.secrets import BadSecret
from backing.settings import ConfigurationError, read
from backing.stop import Stop
from mail.errors import Unavailable
from web.house import House, furnish
from web.serving import await_migration, serve
from web.settings import WebSettings


def run(service: str, build: Callable[[House], ASGIApp]) -> int:
    """Run a door until it is told to stop; give its exit code.

    Args:
        service: its name.
        build: makes its application.
    """
    code = os.EX_OK
    try:
        settings = read(WebSettings)
        log.configure(service, settings.log_level)
        # A reload asked for before there is anything to reload must not end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_live(service, settings, build))
    except* (ConfigurationError, BadSecret) as faults:
        code = fail(faults, os.EX_CONFIG)
    except* (Unavailable, OSError) as faults:
        code = fail(faults, os.EX_UNAVAILABLE)
    return code


async def _live(service: str, settings: WebSettings, build: Callable[[House], ASGIApp]) -> None:
    registry = CollectorRegistry()
    with Stop().on_signals() as stop:
        async with AsyncExitStack() as stack:
            enter = stack.enter_async_context
            emf = Emf(registry, settings.metrics_namespace, service, standard_output)
            await enter(emf.running(settings.metrics_emf_seconds))
            house = await furnish(stack, settings, registry)
            condition = house.condition
            asked = health.serving(
                settings.health_host, settings.health_port, lambda: condition.ready, registry, partial(remarks, house)
            )
            address = await enter(asked)
            structlog.get_logger().info("starting", health=f"{address[0]}:{address[1]}")
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(await_migration(partial(migrated, house.database), condition))
                app = build(house)
                asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload(house))
                await serve(app, settings, condition, stop)
                waiting.cancel()


def remarks(house: House) -> dict[str, object]:
    """What /readyz of the health port says besides (CORE-API-006): its status is not decided by the database."""
    return {"status": house.condition.word, "pool": house.database.numbers()}


def reload(house: House) -> Reload[WebSettings]:
    """Make what takes new settings into the house."""

    def take(settings: WebSettings) -> None:
        house.settings = settings
        house.rates.per_minute = settings.web_rate_per_minute
        log.set_level(settings.log_level)

    return Reload(partial(read, WebSettings), house.settings, take, house.metrics.reloads)


def fail(faults: BaseExceptionGroup[Exception], code: int) -> int:
    """Say what kept the process from running; give the exit code."""
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            fail(fault, code)
        else:
            sys.stderr.write(f"{fault}\n")
    return code
