"""Tasks and images: who they run as, what they may write, what they run (ECS-010, QG-2)."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from infra.policy import kinds
from infra.policy.model import Check, Resource, Rule, World, unless, unless_in
from infra.values import mapping, nested, parsed, sequence

Container = Mapping[str, Any]

# AWS: "Fargate task definition considerations": SIGKILL follows SIGTERM after at most so many seconds.
_STOP_SECONDS: Final = range(2, 121)
# A digest, or in a recorded graph the answer of the image that the program builds.
_PINNED: Final = re.compile(r".+@sha256:[0-9a-f]{64}|.*\$\{[^}]+\.(ref|digest)\}")
_SECRET_NAME: Final = re.compile(r"PASSWORD|PASSWD|SECRET|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|CREDENTIAL|DSN")
# What says where a secret is, or how it is dealt with, and not what it is.
_ABOUT: Final = re.compile(r".*_(ARN|ARNS|NAME|NAMES|PREFIX|ID|IDS|ALIAS|URL|PATH|FILE|DAYS|SECONDS|COUNT|LIMIT)")
# An ARN, or in a recorded graph what will be one.
_PLACE: Final = re.compile(r"arn:aws[a-z-]*:\S+|\$\{[^}]+[._]arn\}")
_SECRET_VALUE: Final = re.compile(r"-----BEGIN|\bA(KI|SI)A[0-9A-Z]{16}\b|://[^/\s:@]+:[^/\s@]+@")


def containers(task: Resource) -> list[Container]:
    """Returns the containers of a task definition."""
    return [mapping(container) for container in sequence(parsed(task.get("containerDefinitions")))]


def _each(holds: Callable[[Container], object]) -> Check:
    def check(task: Resource, _world: World) -> Iterator[str]:
        yield from (str(container.get("name")) for container in containers(task) if not holds(container))

    return check


def _unprivileged_user(container: Container) -> bool:
    user = str(container.get("user") or "root").partition(":")[0]
    return user not in {"root", "0"}


def _stops_in_time(container: Container) -> bool:
    return container.get("stopTimeout") in _STOP_SECONDS


def _logs(container: Container) -> bool:
    return bool(nested(container, "logConfiguration", "logDriver"))


def _initialised(container: Container) -> bool:
    return nested(container, "linuxParameters", "initProcessEnabled") is True


def _writable(task: Resource, world: World) -> Iterator[str]:
    """ECS Exec has to write its files, so that the root of what it may enter cannot be read-only."""
    own = world.pointing(kinds.SERVICE, "taskDefinition", task)
    if any(service.get("enableExecuteCommand") is True for service in own or world.of(kinds.SERVICE)):
        return
    for container in containers(task):
        if container.get("readonlyRootFilesystem") is not True:
            yield str(container.get("name"))


def _secrets(task: Resource, _world: World) -> Iterator[str]:
    for container in containers(task):
        yield from (f"secrets: {one.get('name')}" for one in container.get("secrets") or ())
        for variable in container.get("environment") or ():
            name, value = str(variable.get("name")), str(variable.get("value"))
            named = _SECRET_NAME.search(name) and not _ABOUT.fullmatch(name) and not _PLACE.fullmatch(value)
            if named or _SECRET_VALUE.search(value):
                yield name


def _without_health(service: Resource, world: World) -> Iterator[str]:
    for task in world.pointed(service, "taskDefinition", kinds.TASK):
        for container in containers(task):
            if not nested(container, "healthCheck", "command"):
                yield f"container {container.get('name')} has no health check"
    if service.get("loadBalancers") and not service.get("healthCheckGracePeriodSeconds"):
        yield "it has no grace period, so that slow starts are ended"


def _rolls_back(service: Resource) -> bool:
    if service.get("deploymentController", "type") in ("CODE_DEPLOY", "EXTERNAL"):
        return True
    # Only rolling releases know the breaker; the others look at alarms, and those that are named have to count.
    means = ["alarms"]
    if service.get("deploymentConfiguration", "strategy") in (None, "ROLLING"):
        means = ["deploymentCircuitBreaker", *(["alarms"] if service.get("alarms") else [])]
    return all(service.get(one, key) is True for one in means for key in ("enable", "rollback"))


def _release_rolls_back(group: Resource) -> bool:
    events = group.items("autoRollbackConfiguration", "events")
    rolls = group.get("autoRollbackConfiguration", "enabled") is True and "DEPLOYMENT_FAILURE" in events
    if not group.get("alarmConfiguration"):
        return rolls
    # Alarms that are named have to count, also when nobody can tell how they are.
    return (
        rolls
        and "DEPLOYMENT_STOP_ON_ALARM" in events
        and group.get("alarmConfiguration", "enabled") is True
        and group.get("alarmConfiguration", "ignorePollAlarmFailure") is not True
    )


def _checks_health(group: Resource) -> bool:
    return (
        group.get("healthCheck", "enabled") is not False
        and group.get("healthCheck", "protocol") in ("HTTP", "HTTPS")
        and bool(group.get("healthCheck", "path"))
    )


RULES: Final = (
    Rule(
        name="task-user",
        severity="high",
        kinds=(kinds.TASK,),
        message="a container runs as root",
        remedy="Set user to the image's own, such as 10001.",
        check=_each(_unprivileged_user),
    ),
    Rule(
        name="task-read-only",
        severity="medium",
        kinds=(kinds.TASK,),
        message="a container may write to its root file system",
        remedy="Set readonlyRootFilesystem and mount volumes where it writes; only ECS Exec (`exec`) needs more.",
        check=_writable,
        whole=True,
    ),
    Rule(
        name="task-unprivileged",
        severity="high",
        kinds=(kinds.TASK,),
        message="a container is privileged",
        remedy="Remove privileged.",
        check=_each(lambda container: container.get("privileged") is not True),
    ),
    Rule(
        name="task-init",
        severity="low",
        kinds=(kinds.TASK,),
        message="nobody reaps what a container leaves behind",
        remedy="Set linuxParameters.initProcessEnabled.",
        check=_each(_initialised),
    ),
    Rule(
        name="task-stop-timeout",
        severity="medium",
        kinds=(kinds.TASK,),
        message="a container says not how long it may take to stop, or longer than Fargate's 120 s",
        remedy="Set stopTimeout to 2 to 120.",
        check=_each(_stops_in_time),
    ),
    Rule(
        name="task-logs",
        severity="medium",
        kinds=(kinds.TASK,),
        message="a container's log goes nowhere",
        remedy="Set logConfiguration with awslogs.",
        check=_each(_logs),
    ),
    Rule(
        name="task-image-pinned",
        severity="high",
        kinds=(kinds.TASK,),
        message="an image is named by a tag, which can move",
        remedy="Name the image by its digest, repository@sha256:...",
        check=_each(lambda container: _PINNED.fullmatch(str(container.get("image")))),
    ),
    Rule(
        name="task-no-secrets",
        severity="high",
        kinds=(kinds.TASK,),
        message="an environment variable holds a secret, or looks as if",
        remedy="Hand over the secret's ARN or name and let the task fetch it.",
        check=_secrets,
    ),
    Rule(
        name="service-health",
        severity="medium",
        kinds=(kinds.SERVICE,),
        message="ECS cannot tell whether the service is well",
        remedy="Give each container a healthCheck, and the service health_check_grace_period_seconds.",
        check=_without_health,
        whole=True,
    ),
    Rule(
        name="service-rolls-back",
        severity="medium",
        kinds=(kinds.SERVICE,),
        message="a release that fails stays",
        remedy="Set deployment_circuit_breaker, and alarms, with enable and rollback; a canary knows alarms only.",
        check=unless(_rolls_back),
    ),
    Rule(
        name="service-no-exec",
        severity="medium",
        kinds=(kinds.SERVICE,),
        message="operators may open a shell in tasks of production",
        remedy="Set exec to false.",
        check=unless(lambda service: service.get("enableExecuteCommand") is not True),
        production=True,
    ),
    Rule(
        name="deployment-rolls-back",
        severity="medium",
        kinds=(kinds.DEPLOYMENT_GROUP,),
        message="a release that fails, or raises an alarm, stays",
        remedy="Set auto_rollback_configuration with DEPLOYMENT_FAILURE and DEPLOYMENT_STOP_ON_ALARM.",
        check=unless(_release_rolls_back),
    ),
    Rule(
        name="target-health",
        severity="medium",
        kinds=(kinds.TARGET_GROUP,),
        message="the load balancer does not ask the application whether it is well",
        remedy="Set health_check with protocol HTTP and the path; a bare TCP check opens an SMTP session each time.",
        check=unless(_checks_health),
    ),
    Rule(
        name="repository-immutable",
        severity="medium",
        kinds=(kinds.REPOSITORY,),
        message="a tag can be moved to another image",
        remedy='Set image_tag_mutability="IMMUTABLE", or IMMUTABLE_WITH_EXCLUSION for build caches.',
        check=unless(lambda one: str(one.get("imageTagMutability")).startswith("IMMUTABLE")),
    ),
    Rule(
        name="repository-scanned",
        severity="medium",
        kinds=(kinds.REPOSITORY,),
        message="images are not scanned for known faults",
        remedy="Set image_scanning_configuration.scan_on_push=True.",
        check=unless(lambda one: one.get("imageScanningConfiguration", "scanOnPush") is True),
    ),
    Rule(
        name="repository-expiry",
        severity="low",
        kinds=(kinds.REPOSITORY,),
        message="images stay for ever",
        remedy="Add a LifecyclePolicy.",
        check=unless_in(lambda one, world: world.pointing(kinds.REPOSITORY_LIFECYCLE, "repository", one)),
        whole=True,
    ),
)
