"""What ECS is told of the one container in a task, as values; nothing here creates a resource."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pulumi import Input

USER: Final = "10001"
"""The user that the images run as; see the Dockerfile."""
MAX_STOP_SECONDS: Final = 120
"""Most that Fargate waits between SIGTERM and SIGKILL."""
TMP_VOLUME: Final = "tmp"
STREAM_PREFIX: Final = "task"
# What a busy minute writes; above it lines are lost instead of the process being held up.
_LOG_BUFFER: Final = "16m"
_OPEN_FILES: Final = 65_536


@dataclass(frozen=True, kw_only=True)
class Health:
    """The path that says whether a process lives; ECS ends a task for which it does not."""

    port: int
    path: str
    start_seconds: int = 30
    """Failures in this time after the start do not count."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A process of the product, known from outside: command, environment, ports, health."""

    name: str
    image: Input[str]
    command: Sequence[str]
    environment: Mapping[str, Input[str]]
    """Names, addresses and numbers, never secrets (ECS-010)."""
    log_group: Input[str]
    region: str
    ports: Sequence[int] = ()
    health: Health | None = None
    stop_seconds: int = MAX_STOP_SECONDS
    exec: bool = False
    """A shell is allowed. It writes below its own folders, so the root file system is then writable."""


def definition(container: Container) -> Mapping[str, object]:
    """Returns the container definition.

    Raises:
        ValueError: Fargate would not wait so long for the end of the process.
    """
    if not 2 <= container.stop_seconds <= MAX_STOP_SECONDS:  # noqa: PLR2004 - the limits are in the words below
        raise ValueError(f"{container.name} stops within {container.stop_seconds} s; Fargate has 2 to 120")
    made: dict[str, object] = {
        "name": container.name,
        "image": container.image,
        "essential": True,
        "command": list(container.command),
        "environment": [{"name": name, "value": value} for name, value in sorted(container.environment.items())],
        "portMappings": [{"containerPort": port, "hostPort": port, "protocol": "tcp"} for port in container.ports],
        "user": USER,
        "readonlyRootFilesystem": not container.exec,
        "linuxParameters": _linux(container),
        "mountPoints": [{"sourceVolume": TMP_VOLUME, "containerPath": "/tmp", "readOnly": False}],  # noqa: S108 - it is the container's own
        "stopTimeout": container.stop_seconds,
        "ulimits": [{"name": "nofile", "softLimit": _OPEN_FILES, "hardLimit": _OPEN_FILES}],
        "logConfiguration": _log(container),
    }
    return {**made, "healthCheck": _health(container.health)} if container.health else made


def _linux(container: Container) -> Mapping[str, object]:
    # The first process takes up children that were left behind and passes signals on. ECS Exec starts its agent as
    # root in the container, which then needs root's capabilities.
    init: Mapping[str, object] = {"initProcessEnabled": True}
    return init if container.exec else {**init, "capabilities": {"drop": ["ALL"]}}


def _log(container: Container) -> Mapping[str, object]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": container.log_group,
            "awslogs-region": container.region,
            "awslogs-stream-prefix": STREAM_PREFIX,
            "mode": "non-blocking",
            "max-buffer-size": _LOG_BUFFER,
        },
    }


def _health(health: Health) -> Mapping[str, object]:
    # ECS does not look at the health check that an image has.
    return {
        "command": ["CMD", "python", "-m", "backing.probe", f"http://127.0.0.1:{health.port}{health.path}"],
        "interval": 15,
        "timeout": 5,
        "retries": 3,
        "startPeriod": health.start_seconds,
    }
