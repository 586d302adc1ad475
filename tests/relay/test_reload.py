"""Settings that a running relay takes."""

import dataclasses

import pytest
import structlog
from prometheus_client import CollectorRegistry

from backing.metrics import RelayMetrics
from backing.reload import Change, Reload, change
from backing.settings import ConfigurationError
from relay.settings import RelaySettings
from tests.relay.house import Files, relay, settings

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("CORE-OPS-002")]


@dataclasses.dataclass
class Source:
    """Where settings are read; can be wrong."""

    settings: RelaySettings
    fault: ConfigurationError | None = None

    def read(self) -> RelaySettings:
        if self.fault:
            raise self.fault
        return self.settings


def test_what_may_change_changes_and_the_rest_waits(files: Files) -> None:
    old = settings(files)
    new = settings(files, relay_max_connections=7, log_level="ERROR", relay_hostname="other", health_port=1)
    expected = settings(files, relay_max_connections=7, log_level="ERROR")
    assert change(old, new) == Change(
        expected, ("LOG_LEVEL", "RELAY_MAX_CONNECTIONS"), ("HEALTH_PORT", "RELAY_HOSTNAME")
    )
    assert change(old, old) == Change(old, (), ())


def test_bad_settings_change_nothing_and_values_are_never_said(files: Files) -> None:
    registry, taken = CollectorRegistry(), list[RelaySettings]()
    source = Source(settings(files, relay_max_connections=7, relay_hostname="value.example"))
    with structlog.testing.capture_logs() as said:
        reload = Reload(source.read, settings(files), taken.append, RelayMetrics(registry).reloads)
        source.fault = ConfigurationError("RELAY_MAX_CONNECTIONS: too few")
        reload()
        assert taken == []
        source.fault = None
        reload()
    assert taken == [settings(files, relay_max_connections=7)]
    assert said == [
        {"event": "settings not reloaded", "reason": "RELAY_MAX_CONNECTIONS: too few", "log_level": "error"},
        {
            "event": "settings reloaded",
            "taken": ("RELAY_MAX_CONNECTIONS",),
            "needs_a_restart": ("RELAY_HOSTNAME",),
            "log_level": "info",
        },
    ]
    assert registry.get_sample_value("relay_reloads_total", {"result": "refused"}) == 1
    assert registry.get_sample_value("relay_reloads_total", {"result": "taken"}) == 1


async def test_sessions_that_go_on_take_new_limits_at_their_next_use(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        new = settings(files, relay_max_message_bytes=65_536, relay_max_connections=1)

        def take(taken: RelaySettings) -> None:
            running.house.settings = taken

        Reload(lambda: new, running.house.settings, take, running.house.metrics.reloads)()
        await peer.ask("MAIL FROM:<me@example.com> SIZE=70000", "552 5.3.4")
        await (await running.connect(implicit_tls=True)).expect("421 4.3.2 Too many sessions")
