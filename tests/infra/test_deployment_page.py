"""The page that leads people through AWS names what the stack has."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra import config
from infra.container import STREAM_PREFIX
from infra.graph import Graph
from infra.project import Project
from infra.task import CONTAINER, log_group_name

TEXT = (Path(__file__).parents[2] / "docs" / "aws-deployment.md").read_text("utf-8")
VCPU = 1024
OUTPUTS = {
    "cluster": "a-cluster",
    "operator_task": "smtp-proxy-prod-operator",
    "operator_security_group": "sg-1",
    "task_subnets": '["subnet-1", "subnet-2"]',
}
TASK = "arn:aws:ecs:us-east-1:123456789012:task/a-cluster/0a1b"
AWS = f"""#!{sys.executable}
import json, pathlib, sys
with (pathlib.Path(__file__).parent / "calls").open("a") as calls:
    calls.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1:3] == ["ecs", "run-task"]:
    print("{TASK}")
"""
PULUMI = f"""#!{sys.executable}
import sys
print(OUTPUTS[sys.argv[3]])
"""


@pytest.fixture(scope="module")
def exports(prod: Graph) -> set[str]:
    return set(prod.exports)


@pytest.mark.requirement("QG-4")
def test_every_output_is_explained(exports: set[str]) -> None:
    table = TEXT.partition("### What it tells")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", " ".join(rows))) == sorted(exports)


def test_every_output_that_a_command_asks_for_is_there(exports: set[str]) -> None:
    asked = set(re.findall(r"stack output (\w+)", TEXT))
    assert len(asked) >= 4
    assert asked - exports == set()


def test_the_quota_to_ask_for_is_what_a_release_at_full_scale_takes() -> None:
    project = Project()
    services = config.read(project.name, "prod", project.configuration("prod")).services.values()
    needed = 2 * sum(service.max_tasks * service.cpu for service in services) / VCPU
    assert re.findall(r"(\d+) vCPU with", TEXT) == [f"{needed:g}"]


@pytest.mark.parametrize(("public", "address"), [("true", "ENABLED"), ("false", "DISABLED")])
def test_the_function_runs_a_task_of_the_stack_and_shows_its_log(tmp_path: Path, public: str, address: str) -> None:
    [function] = re.findall(r"```bash\n(run_task\(\).*?)```", TEXT, re.DOTALL)
    pulumi = PULUMI.replace("OUTPUTS", repr({**OUTPUTS, "tasks_have_public_ip": public}))
    for name, text in (("aws", AWS), ("pulumi", pulumi)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    subprocess.run(
        [
            "bash",
            "-c",
            f"{function}\nrun_task operator python -m backing account create shop --domain '*.shop.example'",
        ],
        env={"PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin"},
        check=True,
    )
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    run, wait, tail, described = calls
    asked = dict(zip(run[2::2], run[3::2], strict=True))
    assert {key: asked[key] for key in ("--cluster", "--task-definition", "--launch-type")} == {
        "--cluster": "a-cluster",
        "--task-definition": "smtp-proxy-prod-operator",
        "--launch-type": "FARGATE",
    }
    command = ["python", "-m", "backing", "account", "create", "shop", "--domain", "*.shop.example"]
    assert json.loads(asked["--overrides"]) == {"containerOverrides": [{"name": CONTAINER, "command": command}]}
    assert json.loads(asked["--network-configuration"]) == {
        "awsvpcConfiguration": {
            "subnets": ["subnet-1", "subnet-2"],
            "securityGroups": ["sg-1"],
            "assignPublicIp": address,
        }
    }
    assert run[:2] == ["ecs", "run-task"]
    assert wait == ["ecs", "wait", "tasks-stopped", "--cluster", "a-cluster", "--tasks", TASK]
    stream = f"{STREAM_PREFIX}/{CONTAINER}/0a1b"
    assert tail[:5] == ["logs", "tail", log_group_name("smtp-proxy-prod-operator"), "--log-stream-names", stream]
    assert described[:6] == ["ecs", "describe-tasks", "--cluster", "a-cluster", "--tasks", TASK]
