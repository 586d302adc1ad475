"""Writes the reference pages from the code they describe: `make docs`. A test compares them."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from backing.metrics import PoolMetrics, RelayMetrics, WorkerMetrics
from backing.settings import RELOADABLE, CredentialKeySettings, ProviderKeySettings, ServiceSettings, Settings
from mail.delivery import AFTER, TERMINAL, TRANSITIONS
from relay.settings import RelaySettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
MADE = "<!-- Made by `make docs`; change the code, not this page. -->\n"
SECTIONS: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    ("Every process", "relay, worker, `python -m backing`", Settings),
    ("Relay and worker", "relay, worker", ServiceSettings),
    ("Checking and making credentials", "relay, `python -m backing`", CredentialKeySettings),
    ("Secrets of providers", "worker, `python -m backing`", ProviderKeySettings),
    ("Relay", "relay", RelaySettings),
    ("Worker", "worker", WorkerSettings),
)


def own_fields(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The fields that a settings class declares itself, by the name of their variable."""
    return {name.upper(): settings.model_fields[name] for name in settings.__annotations__ if name != "model_config"}


def default(field: FieldInfo) -> str | None:
    """The default as it would be written in the environment; None where there is none."""
    if field.is_required():
        return None
    value: Any = field.default
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def limits(field: FieldInfo) -> str:
    """The limits of a value, in words."""
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [f"{words[k]} {v}" for m in _metadata(field) for k, v in m.items() if k in words]
    choices = get_args(field.annotation)
    if choices and all(isinstance(choice, str) for choice in choices):
        found.append(", ".join(choices))
    return "; ".join(found)


def _metadata(field: FieldInfo) -> Iterator[dict[str, Any]]:
    for item in field.metadata:
        for part in getattr(item, "metadata", [item]):
            yield {name: getattr(part, name) for name in ("ge", "gt", "le", "lt") if hasattr(part, name)}


def configuration() -> str:
    """The page of every configuration key."""
    lines = [
        "# Configuration",
        "",
        MADE,
        "Processes are configured by environment variables, checked before anything starts: a wrong or missing one",
        "ends the process with status 78 and a line that names the key, what is wrong and the limit. No variable holds",
        "a secret. `SETTINGS_FILE` may name a file of lines `KEY=value` with the same keys; the environment wins over",
        "it. The relay takes the keys marked *reload* anew from that file when it gets a SIGHUP",
        "([operations](../operations.md)). Beside these, the AWS SDK reads its own (`AWS_ENDPOINT_URL`,",
        "`AWS_SHARED_CREDENTIALS_FILE`, ...)",
        "and PostgreSQL's library its own (`PGPASSFILE`).",
    ]
    for title, readers, settings in SECTIONS:
        lines += [
            "",
            f"## {title}",
            "",
            f"Read by: {readers}.",
            "",
            "| variable | default | limits | reload | meaning |",
            "|---|---|---|---|---|",
        ]
        for name, field in own_fields(settings).items():
            shown = default(field)
            value = "required" if shown is None else f"`{shown}`" if shown else "empty"
            reload = "yes" if field.json_schema_extra == RELOADABLE else ""
            lines.append(f"| `{name}` | {value} | {limits(field)} | {reload} | {field.description} |")
    return "\n".join(lines) + "\n"


def env_example() -> str:
    """The `.env.example` of the local stack: every variable, commented out, with its default."""
    lines = [
        "# Settings of the local stack. Copy to .env and uncomment what you change; a change takes effect when the",
        "# service restarts. The stack itself sets the required ones. No secret belongs here.",
        "",
        "# --- The local stack ---",
        "# Folder of PostgreSQL binaries to use instead of the bundled ones.",
        "#SMTP_PROXY_PG_BIN=",
    ]
    for title, _, settings in SECTIONS:
        lines += ["", f"# --- {title} ---"]
        for name, field in own_fields(settings).items():
            shown = default(field)
            note = " Set by the stack." if shown is None else ""
            lines += [f"# {field.description}{note}", f"#{name}=" + (shown or "")]
    return "\n".join(lines) + "\n"


def metrics() -> str:
    """The page of every metric."""
    lines = ["# Metrics", "", MADE, "Every process shows its metrics at `GET /metrics` of its health port."]
    for title, declare in (("Relay", RelayMetrics), ("Worker", WorkerMetrics)):
        registry = CollectorRegistry()
        declared = declare(registry)
        # A family tells its labels only once used.
        labels = {m._name: m._labelnames for m in vars(declared).values() if isinstance(m, MetricWrapperBase)}  # noqa: SLF001
        lines += ["", f"## {title}", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
        lines += [_metric(family, labels.get(family.name) or _used(family)) for family in registry.collect()]
    pool = CollectorRegistry()
    PoolMetrics(pool, dict)
    lines += ["", "## Pool of PostgreSQL connections", "", "| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [_metric(family, _used(family)) for family in pool.collect()]
    return "\n".join(lines) + "\n"


def _used(family: Metric) -> tuple[str, ...]:
    return tuple(sorted(family.samples[0].labels.keys() - {"le"})) if family.samples else ()


def _metric(family: Metric, labels: tuple[str, ...]) -> str:
    name = family.name + ("_total" if family.type == "counter" else "")
    return f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |"


def states() -> str:
    """The page of recipient states, drawn from the table that the worker obeys."""
    lines = ["# States of a recipient", "", MADE, "```mermaid", "stateDiagram-v2", "    [*] --> queued"]
    lines += [f"    {state} --> {after}" for state, following in TRANSITIONS.items() for after in sorted(following)]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL)]
    lines += ["```", "", "| a provider's answer | leads to |", "|---|---|"]
    lines += [f"| {outcome} | {state} |" for outcome, state in AFTER.items()]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Every page that is made, by its place."""
    reference = ROOT / "docs" / "reference"
    return {
        reference / "configuration.md": configuration(),
        reference / "metrics.md": metrics(),
        reference / "states.md": states(),
        ROOT / ".env.example": env_example(),
    }


if __name__ == "__main__":
    for place, text in pages().items():
        place.write_text(text, "utf-8")
        sys.stdout.write(f"{place.relative_to(ROOT)}\n")
