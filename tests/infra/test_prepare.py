import base64
import json
import pickle
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import boto3
import pytest
from botocore.stub import Stubber

from infra.graph import Graph
from infra.prepare import Order, Runner, TaskFailed
from tests.infra import contract
from tests.infra.programs import declare

ORDER = Order(
    cluster="arn:cluster",
    task_definition="prepare:7",
    subnets=["s1", "s2"],
    security_group="sg",
    public_ip=False,
    log_group="/ecs/prepare",
)
TASK = "arn:aws:ecs:us-east-1:123456789012:task/prod/0a1b"
STARTED = {
    "cluster": "arn:cluster",
    "taskDefinition": "prepare:7",
    "count": 1,
    "launchType": "FARGATE",
    "startedBy": "pulumi",
    "enableECSManagedTags": True,
    "propagateTags": "TASK_DEFINITION",
    "networkConfiguration": {
        "awsvpcConfiguration": {"subnets": ["s1", "s2"], "securityGroups": ["sg"], "assignPublicIp": "DISABLED"}
    },
}
LOOKED = {"cluster": "arn:cluster", "tasks": [TASK]}
RUN = "pulumi-python:dynamic/smtp-proxy:Run"
READ = {"logGroupName": "/ecs/prepare", "logStreamName": "task/main/0a1b", "limit": 30, "startFromHead": False}


@dataclass
class Time:
    now: float = 0.0
    waits: list[float] = field(default_factory=list[float])

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@dataclass
class Cloud:
    """Real clients that check what they are asked against AWS's models, and answer from a script."""

    ecs: Stubber
    logs: Stubber
    time: Time = field(default_factory=Time)

    def run(self, order: Order = ORDER) -> str:
        clients = self.ecs.client, self.logs.client
        return Runner(*clients, clock=lambda: self.time.now, sleep=self.time.sleep, patience_seconds=12).run(order)

    def starts(self, **changes: Any) -> None:
        self.ecs.add_response("run_task", {"tasks": [{"taskArn": TASK}], "failures": []}, {**STARTED, **changes})

    def is_found(self, *tasks: dict[str, Any]) -> None:
        self.ecs.add_response("describe_tasks", {"tasks": list(tasks)}, LOOKED)

    def said(self, *lines: str) -> None:
        self.logs.add_response("get_log_events", {"events": [{"message": line} for line in lines]}, READ)


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    keys = {"region_name": "us-east-1", "aws_access_key_id": "none", "aws_secret_access_key": "none"}
    session: Any = boto3
    with Stubber(session.client("ecs", **keys)) as ecs, Stubber(session.client("logs", **keys)) as logs:
        yield Cloud(ecs, logs)
        ecs.assert_no_pending_responses()
        logs.assert_no_pending_responses()


def ended(**container: Any) -> dict[str, Any]:
    return {"lastStatus": "STOPPED", "containers": [{"name": "main", **container}]}


@pytest.mark.requirement("ECS-005")
def test_it_waits_for_the_end(cloud: Cloud) -> None:
    cloud.starts()
    cloud.is_found()
    cloud.is_found({"lastStatus": "RUNNING"})
    cloud.is_found(ended(exitCode=0))
    assert cloud.run() == TASK
    assert cloud.time.waits == [5.0, 5.0]


def test_a_task_may_have_an_address_of_its_own(cloud: Cloud) -> None:
    network = {"awsvpcConfiguration": {"subnets": ["s"], "securityGroups": ["g"], "assignPublicIp": "ENABLED"}}
    cloud.starts(networkConfiguration=network)
    cloud.is_found(ended(exitCode=0))
    assert cloud.run(replace(ORDER, subnets=["s"], security_group="g", public_ip=True)) == TASK


def test_a_failure_comes_with_its_last_words(cloud: Cloud) -> None:
    cloud.starts()
    cloud.is_found({**ended(exitCode=1), "stoppedReason": "Essential container in task exited"})
    cloud.said("applying 0007", "error: column exists")
    with pytest.raises(TaskFailed) as failed:
        cloud.run()
    assert str(failed.value) == (
        f"task {TASK} ended with 1: Essential container in task exited\n  applying 0007\n  error: column exists"
    )


def test_an_image_that_is_not_there(cloud: Cloud) -> None:
    cloud.starts()
    cloud.is_found(ended(reason="CannotPullContainerError: no such image"))
    cloud.logs.add_client_error("get_log_events", "ResourceNotFoundException", expected_params=READ)
    with pytest.raises(TaskFailed) as failed:
        cloud.run()
    assert str(failed.value) == (f"task {TASK} did not start: CannotPullContainerError: no such image; it wrote no log")


def test_ecs_may_have_no_room(cloud: Cloud) -> None:
    answer = {"tasks": [], "failures": [{"reason": "Capacity is unavailable at this time"}]}
    cloud.ecs.add_response("run_task", answer, STARTED)
    with pytest.raises(TaskFailed, match=r"no task of prepare:7 was started: Capacity is unavailable at this time"):
        cloud.run()


def test_what_never_ends_is_ended(cloud: Cloud) -> None:
    cloud.starts()
    for _ in range(4):
        cloud.is_found({"lastStatus": "RUNNING"})
    stopped = {"cluster": "arn:cluster", "task": TASK, "reason": "not done in time"}
    cloud.ecs.add_response("stop_task", {"task": {}}, stopped)
    cloud.said()
    with pytest.raises(TaskFailed, match=r"0a1b was stopped after 12 s; its log is empty"):
        cloud.run()


BODY = """
from infra.placement import Placement
from infra.prepare import Prepare, PrepareArgs
place = Placement(cluster_arn="arn:cluster", subnet_ids=["s1"], security_group_id="sg", public_ip=False)
prepare = Prepare("prod-prepare", PrepareArgs(
    task_definition_arn=Output.from_input("prepare:7"), log_group_name="/ecs/prepare", placement=place,
    region="us-east-1"), opts)
group = pulumi.ComponentResource("smtp-proxy:test:Group", "group", None, opts)
aws.sqs.Queue("after", opts=ResourceOptions(parent=group, depends_on=[prepare.run]))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("prepare") / "stack", BODY)


def test_the_run_is_a_resource_that_others_wait_for(graph: Graph) -> None:
    run = graph.one(RUN, "prod-prepare")
    assert {key: value for key, value in run.inputs.items() if key != "__provider"} == {
        "region": "us-east-1",
        "cluster": "arn:cluster",
        "task_definition": "prepare:7",
        "subnets": ["s1"],
        "security_group": "sg",
        "public_ip": False,
        "log_group": "/ecs/prepare",
    }
    assert run.urn in graph.one("aws:sqs/queue:Queue", "after").depends_on
    assert [problem for check in contract.ALL for problem in check(graph)] == []


class Ecs(BaseHTTPRequestHandler):
    """Starts a task that has ended well already."""

    asked: ClassVar[list[str]] = []
    answers: ClassVar[dict[str, Any]] = {
        "RunTask": {"tasks": [{"taskArn": TASK}], "failures": []},
        "DescribeTasks": {"tasks": [ended(exitCode=0)]},
    }

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        operation = self.headers["X-Amz-Target"].rpartition(".")[2]
        self.asked.append(operation)
        answer = json.dumps(self.answers[operation]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
        pass


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    monkeypatch.setattr(Ecs, "asked", [])
    with HTTPServer(("127.0.0.1", 0), Ecs) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "none")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
        yield Ecs.asked
        server.shutdown()
        thread.join()


def test_what_pulumi_carries_away_runs_the_task_once_for_each_definition(graph: Graph, endpoint: list[str]) -> None:
    run = graph.one(RUN, "prod-prepare")
    provider = pickle.loads(base64.b64decode(run.inputs["__provider"]["value"]))  # noqa: S301 - the program wrote it
    first = {key: value for key, value in run.inputs.items() if key != "__provider"}
    made = provider.create(first)
    assert (made.id, made.outs) == ("prepared", {**first, "task": TASK})
    assert endpoint == ["RunTask", "DescribeTasks"]

    elsewhere = {**first, "subnets": ["s9"]}
    assert provider.diff(made.id, made.outs, elsewhere).changes is False
    following = {**first, "task_definition": "prepare:8"}
    assert provider.diff(made.id, made.outs, following).changes is True
    assert provider.update(made.id, made.outs, following).outs == {**following, "task": TASK}
    assert endpoint == ["RunTask", "DescribeTasks"] * 2
