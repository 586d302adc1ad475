"""The page of scaling in the documentation, made of the policies themselves."""

from collections.abc import Iterator

from infra.alarms_page import example, measured
from infra.readings import metrics
from infra.scaling import Policy, StepPolicy
from infra.scaling_policies import policies
from infra.settings import Settings


def page(settings: Settings) -> Iterator[str]:
    """Yields the lines of the page."""
    yield from (
        "Each service has several reasons to grow and one to shrink: that CPU and load have both been low for minutes.",
        f"What is not known is no reason. Bounds are those of the stack `{settings.stack}` as it is configured, with",
        "`relayTasks`, `relayMaxTasks` and so on; nothing goes beyond them.",
    )
    found = policies(example(settings))
    for name, service in settings.services.items():
        yield from ("", f"## {name}", "", f"{service.tasks} to {service.max_tasks} tasks.", "")
        yield from ("| reason | when | of | then |", "|---|---|---|---|")
        yield from map(_row, found[name])
    yield from (
        "",
        "## Known peaks",
        "",
        "`prewarm` raises the least number of tasks of a service from a time on, and lowers it again:",
        "",
        "```yaml",
        "smtp-proxy:prewarm:",
        '  - { service: relay, schedule: "cron(45 7 ? * MON-FRI *)", timezone: Europe/Berlin, tasks: 6 }',
        '  - { service: relay, schedule: "cron(0 18 ? * MON-FRI *)", timezone: Europe/Berlin, tasks: 2 }',
        "```",
    )


def _row(policy: Policy) -> str:
    if isinstance(policy, StepPolicy):
        seconds = policy.periods * metrics(policy.reading)[0].period
        when = f"{policy.comparison} {policy.threshold:g} for {seconds} s"
        first, *further = policy.steps
        then = ", ".join(
            [
                f"{first.percent:+} %",
                *(f"{step.percent:+} % from {policy.threshold + step.beyond:g} on" for step in further),
            ]
        )
        return f"| {policy.name} | {when} | {measured(policy.reading)} | {then} |"
    return (
        f"| {policy.name} | above {policy.target:g} | {measured(policy.reading)} | as many as bring it down to that |"
    )
