import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any, cast
from urllib.parse import urlsplit

import boto3
import grpc
import pytest
from google.protobuf import struct_pb2
from moto.server import ThreadedMotoServer
from pulumi.dynamic import dynamic
from pulumi.runtime import proto, rpc
from pulumi.runtime.proto import provider_pb2_grpc

from infra.project import ROOT
from infra.release import Releases

FAMILY = "arn:aws:ecs:us-east-1:123456789012:task-definition/api"


@dataclass(frozen=True)
class Pulumi:
    """The process in which Pulumi wakes providers, and an AWS that both it and the test reach."""

    rpc: Any
    session: Any
    endpoint: str

    def client(self, service: str) -> Any:
        return self.session.client(service, endpoint_url=self.endpoint)

    def create(self, props: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        answer = self.rpc.Create(proto.CreateRequest(properties=wire(props)), timeout=30)
        return answer.id, cast("Any", rpc).deserialize_properties(answer.properties)

    def update(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
        self.rpc.Update(proto.UpdateRequest(id="app/group", olds=wire(olds), news=wire(news)), timeout=30)

    def differs(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        answer = self.rpc.Diff(proto.DiffRequest(id="app/group", olds=wire(olds), news=wire(news)), timeout=30)
        return answer.changes == proto.DiffResponse.DIFF_SOME

    def deployments(self) -> list[str]:
        asked = {"applicationName": "app", "deploymentGroupName": "group"}
        return self.client("codedeploy").list_deployments(**asked)["deployments"]


def wire(props: Mapping[str, Any]) -> Any:
    message = struct_pb2.Struct()
    cast("Any", message).update({"__provider": cast("Any", dynamic).serialize_provider(Releases()), **props})
    return message


@pytest.fixture(scope="module")
def pulumi() -> Iterator[Pulumi]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    environment = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_ENDPOINT_URL": endpoint}
    command = [sys.executable, "-u", "-m", "pulumi.dynamic"]
    with ExitStack() as stack:
        stack.callback(server.stop)
        process = stack.enter_context(
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(process.terminate)
        assert process.stdout is not None
        channel = cast("Any", grpc).insecure_channel(f"127.0.0.1:{process.stdout.readline().strip()}")
        session = cast("Any", boto3).session.Session("test", "test", region_name="us-east-1")
        stack.callback(channel.close)
        yield Pulumi(cast("Any", provider_pb2_grpc).ResourceProviderStub(channel), session, endpoint)


@pytest.fixture
def props(pulumi: Pulumi) -> dict[str, Any]:
    """A service under CodeDeploy that was just made with revision 1; returns what its release would be asked."""
    with closing(HTTPConnection(urlsplit(pulumi.endpoint).netloc)) as moto:
        moto.request("POST", "/moto-api/reset")
        assert moto.getresponse().status == 200
    ecs, codedeploy = pulumi.client("ecs"), pulumi.client("codedeploy")
    cluster = ecs.create_cluster(clusterName="main")["cluster"]["clusterArn"]
    for _ in range(2):
        containers = [{"name": "api", "image": "web", "memory": 512}]
        ecs.register_task_definition(family="api", containerDefinitions=containers)
    ec2 = pulumi.client("ec2")
    subnets = sorted(subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"])
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    network = {"subnets": subnets, "securityGroups": [group], "assignPublicIp": "DISABLED"}
    ecs.create_service(
        cluster="main",
        serviceName="api",
        taskDefinition="api:1",
        deploymentController={"type": "CODE_DEPLOY"},
        desiredCount=1,
        platformVersion="1.4.0",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    codedeploy.create_application(applicationName="app", computePlatform="ECS")
    codedeploy.create_deployment_group(
        applicationName="app", deploymentGroupName="group", serviceRoleArn="arn:aws:iam::123456789012:role/role"
    )
    return {
        "region": "us-east-1",
        "application": "app",
        "group": "group",
        "cluster_arn": cluster,
        "service": "api",
        "task_definition_arn": f"{FAMILY}:1",
        "container": "api",
        "port": 8080,
        "subnets": subnets,
        "security_group": group,
        "public_ip": False,
        "platform": "1.4.0",
        "limit_minutes": 0,
    }


@pytest.mark.requirement("ECS-005")
def test_a_service_that_was_just_made_with_the_revision_needs_no_release(pulumi: Pulumi, props: dict[str, Any]) -> None:
    key, outputs = pulumi.create(props)
    assert key == "app/group"
    assert {name: value for name, value in outputs.items() if name != "__provider"} == {**props, "deployment_id": ""}
    assert pulumi.deployments() == []


@pytest.mark.requirement("ECS-005")
def test_another_revision_makes_a_deployment_and_what_became_of_it_is_said(
    pulumi: Pulumi, props: dict[str, Any]
) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        pulumi.update(props, {**props, "task_definition_arn": f"{FAMILY}:2"})
    (deployment,) = pulumi.deployments()
    assert f"deployment {deployment} of app/group is Created after 0 minutes" in str(refused.value)


def test_another_way_out_makes_a_deployment_of_the_same_revision(pulumi: Pulumi, props: dict[str, Any]) -> None:
    with pytest.raises(grpc.RpcError):
        pulumi.update(props, {**props, "subnets": props["subnets"][:1], "public_ip": True})
    (deployment,) = pulumi.deployments()
    info = pulumi.client("codedeploy").get_deployment(deploymentId=deployment)["deploymentInfo"]
    (resource,) = json.loads(info["revision"]["appSpecContent"]["content"])["Resources"]
    properties = resource["TargetService"]["Properties"]
    assert properties["TaskDefinition"] == f"{FAMILY}:1"
    assert properties["NetworkConfiguration"] == {
        "AwsvpcConfiguration": {
            "Subnets": props["subnets"][:1],
            "SecurityGroups": [props["security_group"]],
            "AssignPublicIp": "ENABLED",
        }
    }


@pytest.mark.parametrize(
    ("news", "changes"),
    [
        ({}, False),
        ({"deployment_id": None}, False),
        ({"task_definition_arn": f"{FAMILY}:2"}, True),
        ({"container": "console"}, True),
        ({"subnets": ["subnet-b"]}, True),
        ({"security_group": "sg-other"}, True),
        ({"public_ip": True}, True),
        ({"platform": "1.5.0"}, True),
    ],
)
def test_only_what_was_asked_for_makes_a_difference(pulumi: Pulumi, news: dict[str, Any], *, changes: bool) -> None:
    asked = {"task_definition_arn": f"{FAMILY}:1", "container": "api", "subnets": ["subnet-a"], "public_ip": False}
    assert pulumi.differs({**asked, "deployment_id": "d-1"}, {**asked, **news}) is changes


def test_a_run_that_changes_nothing_keeps_the_provider_as_it_was() -> None:
    assert wire({}) == wire({})
