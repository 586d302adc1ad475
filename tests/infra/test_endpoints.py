from pathlib import Path

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.endpoints import Endpoints, EndpointsArgs
args = EndpointsArgs(
    region=settings.region,
    services=settings.network.interface_endpoints,
    vpc_id="vpc-1",
    subnet_ids=["subnet-a", "subnet-b"],
    security_group_id="sg-1",
)
Endpoints("ways", args, opts)
"""


def _declared(folder: Path, *services: str) -> Graph:
    return declare(folder, BODY, {"interfaceEndpoints": list(services)})


def test_each_service_answers_to_its_own_name_inside_the_vpc(tmp_path: Path) -> None:
    graph = _declared(tmp_path, "sqs", "ecr.api")
    assert {node.name: node.inputs for node in graph.resources} == {
        f"ways-{service}": {
            "vpcId": "vpc-1",
            "vpcEndpointType": "Interface",
            "serviceName": f"com.amazonaws.us-east-1.{service}",
            "subnetIds": ["subnet-a", "subnet-b"],
            "securityGroupIds": ["sg-1"],
            "privateDnsEnabled": True,
            "tags": {"Name": f"ways-{service}"},
        }
        for service in ("sqs", "ecr.api")
    }
    assert [problem for check in contract.ALL for problem in check(graph)] == []


def test_none_is_made_unasked(tmp_path: Path) -> None:
    assert _declared(tmp_path).resources == []
