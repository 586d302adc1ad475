"""The tasks of a stack, as ECS starts them, with the settings that their processes read."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import pytest
from pydantic_settings import BaseSettings

from backing.commands.deadletters import DeadLetterSettings
from backing.commands.office import AdminSettings
from backing.commands.prepare import PrepareSettings
from backing.settings import CacheSettings, read
from infra import graph
from infra.graph import Graph
from relay.settings import RelaySettings
from web.settings import WebSettings
from worker.certificates.settings import CertificateSettings
from worker.settings import WorkerSettings

# pulumi_aws warns about its own old modules while it imports them.
OLD_MODULES: Final = pytest.mark.filterwarnings(
    r"ignore:(aws\.)?(s3|ec2/encryptioncontrol).* has been deprecated in favor of:DeprecationWarning"
)
# Each process with all that it reads; the first class is the one it cannot start without.
SETTINGS: Final[Mapping[str, tuple[type[BaseSettings], ...]]] = {
    "relay": (RelaySettings,),
    "worker": (WorkerSettings,),
    "api": (WebSettings,),
    "console": (WebSettings,),
    "renewer": (CertificateSettings,),
    "prepare": (PrepareSettings,),
    "operator": (AdminSettings, DeadLetterSettings, CacheSettings),
}
SERVICES: Final = {"relay", "worker", "api", "console"}


@dataclass(frozen=True)
class Container:
    """The one container of a task, as ECS starts it."""

    role: str
    definition: Mapping[str, Any]

    @property
    def told(self) -> dict[str, str]:
        return {each["name"]: plausible(each["name"], each["value"]) for each in self.definition["environment"]}

    @property
    def module(self) -> str:
        python, flag, module, *_ = self.definition["command"]
        assert (python, flag) == ("python", "-m")
        return str(module)

    @property
    def ports(self) -> set[int]:
        return {int(each["containerPort"]) for each in self.definition["portMappings"]}


def plausible(name: str, value: str) -> str:
    """A value as AWS would give it, for one that says where it comes from."""
    known = {"region": "us-east-1", "account": "123456789012"}
    value = re.sub(r"\$\{(region|account)\}", lambda found: known[found[1]], value)
    if re.fullmatch(r"\$\{\S+\.url\}", value):
        return f"https://sqs.us-east-1.amazonaws.com/123456789012/{name.lower()}"
    if re.fullmatch(r"\$\{\S+_arn\}", value):
        return f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name.lower()}"
    return re.sub(r"\$\{([^}]*)\}", lambda found: re.sub(r"[^A-Za-z0-9-]", "-", found[1]), value)


@cache
def built(stack: str) -> Graph:
    return graph.build(stack)


def containers(stack: str) -> dict[str, Container]:
    found = {}
    for task in built(stack).of_type("aws:ecs/taskDefinition:TaskDefinition"):
        (definition,) = json.loads(task.inputs["containerDefinitions"])
        role = task.name.removeprefix(f"smtp-proxy-{stack}-")
        found[role] = Container(role, definition)
    return found


def settings_of(stack: str, role: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    for name, value in containers(stack)[role].told.items():
        monkeypatch.setenv(name, value)
    return read(SETTINGS[role][0])
