import json
from collections.abc import Mapping
from typing import Any

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.network import Network, NetworkArgs
args = NetworkArgs(region=settings.region, settings=settings.network, log_days=settings.watch.log_days, log_key_arn=KEY)
network = Network("net", args, opts)
pulumi.export("public", network.public_subnet_ids)
pulumi.export("private", network.private_subnet_ids)
pulumi.export("isolated", network.isolated_subnet_ids)
pulumi.export("task", network.task_subnet_ids)
pulumi.export("vpc", network.vpc_id)
pulumi.export("cidr", network.cidr)
pulumi.export("tasks_have_public_ip", network.tasks_have_public_ip)
pulumi.export("egress_addresses", network.egress_addresses)
"""
VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dev": ("dev", {}),
    "prod": ("prod", {}),
    "per-zone": ("prod", {"egress": "nat-per-zone"}),
    "regional": ("prod", {"egress": "nat-regional", "flowLogs": False}),
}
VPC, SUBNET, NAT = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/natGateway:NatGateway"
ROUTE, ASSOCIATION = "aws:ec2/route:Route", "aws:ec2/routeTableAssociation:RouteTableAssociation"
ENDPOINT = "aws:ec2/vpcEndpoint:VpcEndpoint"

Graphs = Mapping[str, Graph]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Graphs:
    return {
        name: declare(
            tmp_path_factory.mktemp(name),
            BODY.replace("KEY", '"arn:aws:kms:us-east-1:1:key/logs"' if name == "prod" else "None"),
            changes,
            stack,
        )
        for name, (stack, changes) in VARIANTS.items()
    }


@pytest.fixture
def prod(graphs: Graphs) -> Graph:
    return graphs["prod"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_keeps_the_contract(graphs: Graphs, variant: str) -> None:
    assert {check.__name__: check(graphs[variant]) for check in contract.ALL} == {
        check.__name__: [] for check in contract.ALL
    }


@pytest.mark.requirement("SC-7.1")
def test_the_vpc(prod: Graph) -> None:
    (vpc,) = prod.of_type(VPC)
    assert vpc.inputs == {
        "cidrBlock": "10.40.0.0/16",
        "enableDnsHostnames": True,
        "enableDnsSupport": True,
        "tags": {"Name": "net"},
    }


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_default_security_group_is_closed(graphs: Graphs, variant: str) -> None:
    (group,) = graphs[variant].of_type("aws:ec2/defaultSecurityGroup:DefaultSecurityGroup")
    assert group.inputs == {"vpcId": "${net.id}", "ingress": [], "egress": [], "tags": {"Name": "net-default"}}


@pytest.mark.requirement("SC-7.1")
def test_each_of_three_zones_has_three_subnets(prod: Graph) -> None:
    assert {node.name: node.inputs for node in prod.of_type(SUBNET)} == {
        f"net-{tier}-{zone}": {
            "vpcId": "${net.id}",
            "availabilityZone": f"us-east-1{zone}",
            "cidrBlock": cidr,
            "mapPublicIpOnLaunch": False,
            "tags": {"Name": f"net-{tier}-{zone}"},
        }
        for tier, zone, cidr in (
            ("public", "a", "10.40.16.0/21"),
            ("public", "b", "10.40.48.0/21"),
            ("public", "c", "10.40.80.0/21"),
            ("private", "a", "10.40.0.0/20"),
            ("private", "b", "10.40.32.0/20"),
            ("private", "c", "10.40.64.0/20"),
            ("isolated", "a", "10.40.24.0/22"),
            ("isolated", "b", "10.40.56.0/22"),
            ("isolated", "c", "10.40.88.0/22"),
        )
    }


GATEWAY = {"routeTableId": "${net-public.id}", "destinationCidrBlock": "0.0.0.0/0", "gatewayId": "${net.id}"}


def through(table: str, nat: str) -> Mapping[str, str]:
    return {
        "routeTableId": f"${{{table}.id}}",
        "destinationCidrBlock": "0.0.0.0/0",
        "natGatewayId": f"${{{nat}.id}}",
    }


@pytest.mark.parametrize(
    ("variant", "routes"),
    [
        ("dev", {"net-public": GATEWAY}),
        ("prod", {"net-public": GATEWAY, "net-private": through("net-private", "net-nat-a")}),
        (
            "per-zone",
            {
                "net-public": GATEWAY,
                "net-private-a": through("net-private-a", "net-nat-a"),
                "net-private-b": through("net-private-b", "net-nat-b"),
                "net-private-c": through("net-private-c", "net-nat-c"),
            },
        ),
        ("regional", {"net-public": GATEWAY, "net-private": through("net-private", "net-nat")}),
    ],
)
def test_routes(graphs: Graphs, variant: str, routes: Mapping[str, Any]) -> None:
    graph = graphs[variant]
    assert {node.name: node.inputs for node in graph.of_type(ROUTE)} == routes
    assert [node.name for node in graph.of_type("aws:ec2/routeTable:RouteTable") if "routes" in node.inputs] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_subnet_has_the_table_of_its_tier(graphs: Graphs, variant: str) -> None:
    graph = graphs[variant]
    zones, apart = ("ab" if variant == "dev" else "abc"), variant == "per-zone"
    assert sorted((node.inputs["subnetId"], node.inputs["routeTableId"]) for node in graph.of_type(ASSOCIATION)) == [
        *((f"${{net-isolated-{zone}.id}}", "${net-isolated.id}") for zone in zones),
        *((f"${{net-private-{zone}.id}}", f"${{net-private{f'-{zone}' if apart else ''}.id}}") for zone in zones),
        *((f"${{net-public-{zone}.id}}", "${net-public.id}") for zone in zones),
    ]


def zonal(zone: str) -> Mapping[str, Any]:
    return {
        "connectivityType": "public",
        "subnetId": f"${{net-public-{zone}.id}}",
        "allocationId": f"${{net-nat-{zone}.allocation_id}}",
        "tags": {"Name": f"net-nat-{zone}"},
    }


@pytest.mark.parametrize(
    ("variant", "gateways"),
    [
        ("dev", {}),
        ("prod", {"net-nat-a": zonal("a")}),
        ("per-zone", {f"net-nat-{zone}": zonal(zone) for zone in "abc"}),
        (
            "regional",
            {
                "net-nat": {
                    "connectivityType": "public",
                    "availabilityMode": "regional",
                    "vpcId": "${net.id}",
                    "tags": {"Name": "net-nat"},
                }
            },
        ),
    ],
)
def test_nat_gateways(graphs: Graphs, variant: str, gateways: Mapping[str, Any]) -> None:
    graph = graphs[variant]
    found = graph.of_type(NAT)
    assert {node.name: node.inputs for node in found} == gateways
    (internet,) = graph.of_type("aws:ec2/internetGateway:InternetGateway")
    assert [node.name for node in found if internet.urn not in node.depends_on] == []
    addresses = {node.name: node.inputs for node in graph.of_type("aws:ec2/eip:Eip")}
    assert addresses == {
        name: {"domain": "vpc", "tags": {"Name": name}} for name in gateways if "allocationId" in gateways[name]
    }
    assert graph.exports["egress_addresses"] == [f"${{{name}.public_ip}}" for name in addresses]


@pytest.mark.parametrize(
    ("variant", "tasks", "zones"),
    [
        ("dev", "public", "ab"),
        ("prod", "private", "abc"),
        ("per-zone", "private", "abc"),
        ("regional", "private", "abc"),
    ],
)
def test_outputs(graphs: Graphs, variant: str, tasks: str, zones: str) -> None:
    def ids(tier: str) -> list[str]:
        return [f"${{net-{tier}-{zone}.id}}" for zone in zones]

    assert {name: value for name, value in graphs[variant].exports.items() if name != "egress_addresses"} == {
        "public": ids("public"),
        "private": ids("private"),
        "isolated": ids("isolated"),
        "task": ids(tasks),
        "vpc": "${net.id}",
        "cidr": "10.40.0.0/16",
        "tasks_have_public_ip": variant == "dev",
    }


def own(service: str) -> Mapping[str, Any]:
    return {
        "Sid": "OwnAccount",
        "Effect": "Allow",
        "Principal": "*",
        "Action": f"{service}:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceAccount": "${account}"}},
    }


READ = {"Sid": "ReadAnywhere", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "*"}


@pytest.mark.parametrize(
    ("variant", "tables"),
    [
        ("dev", ["net-public"]),
        ("prod", ["net-private"]),
        ("per-zone", ["net-private-a", "net-private-b", "net-private-c"]),
        ("regional", ["net-private"]),
    ],
)
def test_tasks_reach_s3_and_dynamodb_without_a_fee(graphs: Graphs, variant: str, tables: list[str]) -> None:
    found = {
        node.name: {**node.inputs, "policy": json.loads(node.inputs["policy"])["Statement"]}
        for node in graphs[variant].of_type(ENDPOINT)
    }
    assert found == {
        f"net-{service}": {
            "vpcId": "${net.id}",
            "vpcEndpointType": "Gateway",
            "serviceName": f"com.amazonaws.us-east-1.{service}",
            "routeTableIds": [f"${{{table}.id}}" for table in tables],
            "policy": statements,
            "tags": {"Name": f"net-{service}"},
        }
        for service, statements in (("s3", [own("s3"), READ]), ("dynamodb", [own("dynamodb")]))
    }


LOG = "aws:ec2/flowLog:FlowLog"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"


def test_the_flow_log(prod: Graph) -> None:
    (log,) = prod.of_type(LOG)
    group = "arn:aws:cloudwatch:${region}:${account}:${net-flows.arn}"
    assert log.inputs == {
        "vpcId": "${net.id}",
        "trafficType": "ALL",
        "logDestinationType": "cloud-watch-logs",
        "logDestination": group,
        "iamRoleArn": "arn:aws:iam::${account}:${net-flows.arn}",
        "tags": {"Name": "net-flows"},
    }
    assert [node.inputs for node in prod.of_type(LOG_GROUP)] == [
        {"retentionInDays": 30, "kmsKeyId": "arn:aws:kms:us-east-1:1:key/logs"}
    ]
    (policy,) = prod.of_type("aws:iam/rolePolicy:RolePolicy")
    assert policy.urn in log.depends_on
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {
            "Sid": "Write",
            "Effect": "Allow",
            "Action": [
                "logs:CreateLogStream",
                "logs:DescribeLogGroups",
                "logs:DescribeLogStreams",
                "logs:PutLogEvents",
            ],
            "Resource": [group, f"{group}:*"],
        }
    ]


def test_only_flow_logs_of_the_account_take_the_role(prod: Graph) -> None:
    (role,) = prod.of_type("aws:iam/role:Role")
    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "vpc-flow-logs.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "${account}"},
                "ArnLike": {"aws:SourceArn": "arn:aws:ec2:us-east-1:${account}:vpc-flow-log/*"},
            },
        }
    ]


@pytest.mark.parametrize("variant", ["dev", "regional"])
def test_no_flow_log_where_none_is_wanted(graphs: Graphs, variant: str) -> None:
    kinds = {LOG, LOG_GROUP, "aws:iam/role:Role", "aws:iam/rolePolicy:RolePolicy"}
    assert [node.urn for node in graphs[variant].nodes if node.type in kinds] == []


def test_a_log_without_a_key_is_encrypted_by_cloudwatch(graphs: Graphs) -> None:
    assert [node.inputs for node in graphs["per-zone"].of_type(LOG_GROUP)] == [{"retentionInDays": 30}]
