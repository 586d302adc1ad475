"""Writes the reference pages from the code they describe: `make docs`. A test compares them."""

import asyncio
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode

from backing import metrics as declared
from backing.admin.providers import KINDS
from backing.aws import Aws
from backing.commands.office import AdminSettings
from backing.commands.prepare import PrepareSettings
from backing.ids import new_id
from backing.provider_configs import CONFIGS
from backing.settings import (
    RELOADABLE,
    CacheAddress,
    CredentialKeySettings,
    MetricsSettings,
    ProcessSettings,
    ProviderKeySettings,
    ServiceSettings,
    Settings,
)
from client.api.arguments import reference as command_reference
from docs.stack_pages import MADE, ROOT, alarms, policies, scaling, stack
from mail.account_events import reference
from mail.delivery import AFTER
from mail.keys import OPERATORS_ONLY
from mail.keys import Scope as KeyScope
from mail.states import DELIVERY_TRANSITIONS, ORDERS, TERMINAL, TRANSITIONS
from relay.settings import RelaySettings
from web.api.application import documented
from web.edge import Condition
from web.settings import WebSettings
from worker.certificates.settings import CertificateSettings
from worker.providers.base import Capabilities, Setup
from worker.providers.means import Means
from worker.providers.registry import kinds
from worker.providers.web import http_session
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from web.house import House

SECTIONS: tuple[tuple[str, str, type[BaseSettings]], ...] = (
    (
        "Every process",
        "relay, worker, API, console, `python -m worker.certificates`, `python -m backing`",
        ProcessSettings,
    ),
    ("Database", "relay, worker, API, console, `python -m backing`", Settings),
    ("Cache", "relay, worker, API, console, `python -m worker.certificates`, `python -m backing`", CacheAddress),
    ("Metrics", "relay, worker, API, console, `python -m worker.certificates`", MetricsSettings),
    ("Services", "relay, worker, API, console", ServiceSettings),
    ("Checking and making credentials", "relay, API, console, `python -m backing`", CredentialKeySettings),
    ("Before a release", "`python -m backing prepare`", PrepareSettings),
    ("Secrets of providers", "worker, API, console, `python -m backing`", ProviderKeySettings),
    ("Relay", "relay", RelaySettings),
    ("Worker", "worker", WorkerSettings),
    ("Renewer of certificates", "`python -m worker.certificates`", CertificateSettings),
    ("API and console", "API, console", WebSettings),
    ("Operator's command", "`python -m backing`", AdminSettings),
)
# The least that each kind can be made of, and what changes what it can do.
_LEAST: Final[Mapping[str, Mapping[str, Any]]] = {
    "smtp": {"host": "mail.example.net"},
    "ses": {"region": "eu-central-1"},
    "mailgun": {"domain": "shop.example"},
}
_VARIANTS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "smtp": ({}, {"tls": "opportunistic"}),
    "sendgrid": ({}, {"correlate": True}, {"mode": "api"}),
    "postmark": ({}, {"correlate": True}, {"mode": "api"}),
    "sandbox": ({}, {"remember": 1000}),
}
# Metrics that need more than a registry to be declared.
_DECLARE: Final[Mapping[str, Callable[[CollectorRegistry], Any]]] = {
    "PoolMetrics": lambda registry: declared.PoolMetrics(registry, dict),
}


def own_fields(settings: type[BaseSettings]) -> dict[str, FieldInfo]:
    """The fields that a settings class declares itself, by the name of their variable."""
    return {name.upper(): settings.model_fields[name] for name in settings.__annotations__ if name != "model_config"}


def default(field: FieldInfo) -> str | None:
    """The default as it would be written in the environment; None where there is none."""
    if field.is_required():
        return None
    value: Any = field.default
    if isinstance(value, tuple) and NoDecode in field.metadata:
        return ",".join(map(str, value))
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return _written(value)


def _written(value: object) -> str:
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
        "it. Relay, worker, API and console take the keys marked *reload* anew from that file when they get a SIGHUP",
        "([operations](../operations.md)); commands read theirs once. Beside these, the AWS SDK reads its own",
        "(`AWS_ENDPOINT_URL`, `AWS_SHARED_CREDENTIALS_FILE`, ...)",
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
    for name, made in vars(declared).items():
        if not name.endswith("Metrics"):
            continue
        registry = CollectorRegistry()
        counted = _DECLARE.get(name, made)(registry)
        # A family tells its labels only once used.
        labels = {m._name: m._labelnames for m in vars(counted).values() if isinstance(m, MetricWrapperBase)}  # noqa: SLF001
        title = " ".join(re.findall("[A-Z][a-z]+", name.removesuffix("Metrics"))).capitalize()
        lines += [
            "",
            f"## {title}",
            "",
            _first_line(made),
            "",
            "| metric | type | labels | meaning |",
            "|---|---|---|---|",
        ]
        lines += [_metric(family, labels.get(family.name) or _used(family)) for family in registry.collect()]
    return "\n".join(lines) + "\n"


def _first_line(described: type) -> str:
    return (described.__doc__ or "").partition("\n")[0]


def _used(family: Metric) -> tuple[str, ...]:
    return tuple(sorted(family.samples[0].labels.keys() - {"le"})) if family.samples else ()


def _metric(family: Metric, labels: tuple[str, ...]) -> str:
    name = family.name + ("_total" if family.type == "counter" else "")
    return f"| `{name}` | {family.type} | {', '.join(labels)} | {family.documentation} |"


def providers() -> str:
    """The page of what the kinds of providers are configured with, and what they can do."""
    lines = [
        "# Kinds of providers",
        "",
        MADE,
        "What `provider create --config KEY=VALUE` takes for each kind, and what each can do. What they are for and",
        "what their secrets are: [providers](../providers.md).",
    ]
    for kind in KINDS:
        lines += ["", f"## {kind}", "", "| key | default | limits | meaning |", "|---|---|---|---|"]
        lines += [_key(name, field) for name, field in CONFIGS[kind].model_fields.items()]
    lines += [
        "",
        "## What each can do",
        "",
        "| kind | verified TLS | REQUIRETLS | recipients | octets | SMTPUTF8 | events | same key | Message-ID |",
        "|---|---|---|---|---|---|---|---|---|",
        *asyncio.run(_abilities()),
        "",
        "*Recipients* and *octets* are the most of one attempt; a message with more recipients takes several.",
        "*Events*: how long an unknown outcome waits for the provider's word; where there are none, it waits for",
        "`WORKER_UNKNOWN_SECONDS`. *Same key*: what becomes of a sending that is repeated. *Message-ID*: whether",
        "recipients see the one that the client wrote.",
    ]
    return "\n".join(lines) + "\n"


def _key(name: str, field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    words = "required" if field.is_required() else "" if value is None else f"`{_written(value)}`"
    return f"| `{name}` | {words} | {limits(field)} | {field.description} |"


async def _abilities() -> list[str]:
    rows: list[str] = []
    async with http_session(()) as http:
        built = kinds(Means(Aws("eu-central-1"), http, http))
        for kind in KINDS:
            for variant in _VARIANTS.get(kind, ({},)):
                setup = Setup(new_id(), kind, {**_LEAST.get(kind, {}), **variant}, "secret")
                provider = await built[kind](setup)
                named = ", ".join([kind, *(f"`{key}={_written(value)}`" for key, value in variant.items())])
                rows.append(f"| {named} | {' | '.join(_told(provider.capabilities))} |")
                await provider.close()
    return rows


def _told(can: Capabilities) -> Iterator[str]:
    """What a provider can do, in words; what only a connection tells is the server's to say."""
    yield "yes" if can.verified_tls else "no"
    # Only SMTP peers are asked for it.
    yield "no" if not can.requiretls else "yes" if can.smtputf8 else "if the server offers it"
    yield f"{can.max_recipients:,}"
    yield "as the server says" if can.max_octets is None and not can.smtputf8 else _octets(can.max_octets)
    yield {None: "if the server offers it", True: "yes", False: "no"}[can.smtputf8]
    yield "none" if can.evidence_seconds is None else f"{can.evidence_seconds:g} s"
    yield "taken once" if can.idempotent else "taken again"
    yield "replaced" if can.rewrites_message_id else "kept"


def _octets(most: int | None) -> str:
    return "any" if most is None else f"{most:,}"


def account_events() -> str:
    """The page of what accounts are told."""
    return f"# Account events\n\n{MADE}\nHow they are posted is told in [events](../events.md).\n\n{reference()}"


def api() -> str:
    """The page of what the HTTP API does, from its own contract."""
    nothing = cast(
        "House",
        SimpleNamespace(
            condition=Condition(), database=None, cache=None, events=None, tools=SimpleNamespace(vault=None)
        ),
    )
    told = documented(nothing).openapi()
    lines = [
        "# HTTP API",
        "",
        MADE,
        "`GET /openapi.json` tells the same, with every field of what is sent and given, to programs. How it is used:",
        "[API](../api.md).",
    ]
    tags: defaultdict[str, list[str]] = defaultdict(list)
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            *words, scope = operation["description"].split("\n\n")
            meaning = f"{operation['summary']}. {words[0]}".replace("\n", " ")
            row = f"| `{method.upper()} {path}` | {scope.removeprefix('Scope: ').rstrip('.')} | {meaning} |"
            tags[operation["tags"][0]].append(row)
    for tag, rows in tags.items():
        lines += ["", f"## {tag.capitalize()}", "", "| operation | scope | meaning |", "|---|---|---|", *rows]
    lines += ["", "## Scopes", "", "| scope | for |", "|---|---|"]
    lines += [
        f"| `{each}` | {'operators' if each in OPERATORS_ONLY else 'operators and tenants'} |" for each in KeyScope
    ]
    return "\n".join(lines) + "\n"


def commands() -> str:
    """The page of what the command line can do, from its own parser."""
    lines = [
        "# Commands",
        "",
        MADE,
        "What `smtp-proxy NOUN VERB --help` tells. How it is used: [the command line](../command-line.md).",
        "All of them take `--profile NAME`, `--json`, `--ca FILE` and `--timeout SECONDS`, too.",
        *command_reference(),
    ]
    return "\n".join(lines) + "\n"


def states() -> str:
    """The page of states, drawn from the tables that the worker obeys."""
    lines = ["# States of a recipient", "", MADE, *_diagram(TRANSITIONS)]
    lines += [f"    {state} --> [*]" for state in sorted(TERMINAL)]
    lines += ["```", "", "# States of the work on a message", "", *_diagram(DELIVERY_TRANSITIONS), "```"]
    lines += ["", "# What an answer leads to", "", "| a provider's answer | leads to |", "|---|---|"]
    lines += [f"| {outcome} | {state} |" for outcome, state in AFTER.items()]
    lines += [
        "",
        "# What an operator's order does",
        "",
        "| order | to recipients that are | which become |",
        "|---|---|---|",
    ]
    lines += [f"| {order} | {', '.join(sorted(those))} | {state} |" for order, (those, state) in ORDERS.items()]
    return "\n".join(lines) + "\n"


def _diagram(transitions: Mapping[Any, frozenset[Any]]) -> list[str]:
    arrows = [f"    {state} --> {after}" for state, following in transitions.items() for after in sorted(following)]
    return ["```mermaid", "stateDiagram-v2", "    [*] --> queued", *arrows]


def pages() -> dict[Path, str]:
    """Every page that is made, by its place."""
    folder = ROOT / "docs" / "reference"
    return {
        folder / "alarms.md": alarms(),
        folder / "configuration.md": configuration(),
        folder / "metrics.md": metrics(),
        folder / "scaling.md": scaling(),
        folder / "stack.md": stack(),
        folder / "states.md": states(),
        folder / "providers.md": providers(),
        folder / "events.md": account_events(),
        folder / "policies.md": policies(),
        folder / "api.md": api(),
        folder / "commands.md": commands(),
        ROOT / ".env.example": env_example(),
    }


if __name__ == "__main__":
    for place, text in pages().items():
        place.write_text(text, "utf-8")
        sys.stdout.write(f"{place.relative_to(ROOT)}\n")
