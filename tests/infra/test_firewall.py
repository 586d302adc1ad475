import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.firewall import Firewall, FirewallArgs
from infra.flows import flows
firewall = Firewall("wall", FirewallArgs(vpc_id="vpc-1", flows=flows(settings)), opts)
for group, group_id in firewall.group_ids.items():
    pulumi.export(group, group_id)
"""
INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"


@pytest.fixture(scope="module")
def walls(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Graph]:
    return {
        "dev": declare(tmp_path_factory.mktemp("dev"), BODY, stack="dev"),
        "prod": declare(tmp_path_factory.mktemp("prod"), BODY, {"interfaceEndpoints": ["sqs"]}),
        "chosen": declare(tmp_path_factory.mktemp("chosen"), BODY, {"smtpNetworks": ["192.0.2.0/24"]}),
    }


@pytest.mark.parametrize("variant", ["dev", "prod", "chosen"])
def test_every_variant_keeps_the_contract(walls: dict[str, Graph], variant: str) -> None:
    assert {check.__name__: check(walls[variant]) for check in contract.ALL} == {
        check.__name__: [] for check in contract.ALL
    }


GROUPS = {
    "smtp-balancer": "Load balancer of the SMTP endpoint",
    "web-balancer": "Load balancer of the API and the console",
    "relay": "Tasks that take mail in",
    "worker": "Tasks that send mail out",
    "api": "Tasks of the API",
    "console": "Tasks of the console",
    "renewer": "Task that renews the certificate of the SMTP endpoint",
    "operator": "Tasks that an operator or a release runs once",
    "database": "PostgreSQL",
    "cache": "Valkey",
}
ENDPOINTS = {"endpoints": "Interface endpoints of AWS services"}


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize(("variant", "groups"), [("dev", GROUPS), ("prod", GROUPS | ENDPOINTS)])
def test_groups_have_no_rules_of_their_own(walls: dict[str, Graph], variant: str, groups: dict[str, str]) -> None:
    graph = walls[variant]
    assert {node.name: node.inputs for node in graph.of_type("aws:ec2/securityGroup:SecurityGroup")} == {
        f"wall-{group}": {"description": description, "vpcId": "vpc-1", "tags": {"Name": f"wall-{group}"}}
        for group, description in groups.items()
    }
    assert graph.exports == {group: f"${{wall-{group}.id}}" for group in groups}


@pytest.mark.requirement("SC-7.3")
def test_a_flow_between_groups_is_a_rule_at_each_end(walls: dict[str, Graph]) -> None:
    rule = {"ipProtocol": "tcp", "fromPort": 5432, "toPort": 5432, "description": "PostgreSQL over TLS"}
    assert walls["prod"].one(EGRESS, "wall-relay-to-database-5432").inputs == {
        **rule,
        "securityGroupId": "${wall-relay.id}",
        "referencedSecurityGroupId": "${wall-database.id}",
    }
    assert walls["prod"].one(INGRESS, "wall-database-from-relay-5432").inputs == {
        **rule,
        "securityGroupId": "${wall-database.id}",
        "referencedSecurityGroupId": "${wall-relay.id}",
    }


@pytest.mark.requirement("SC-7.3")
def test_a_flow_of_a_network_is_a_rule_at_one_end(walls: dict[str, Graph]) -> None:
    assert walls["chosen"].one(INGRESS, "wall-smtp-balancer-from-192.0.2.0-24-465").inputs == {
        "ipProtocol": "tcp",
        "fromPort": 465,
        "toPort": 465,
        "description": "clients hand in mail",
        "securityGroupId": "${wall-smtp-balancer.id}",
        "cidrIpv4": "192.0.2.0/24",
    }
    assert walls["prod"].one(EGRESS, "wall-worker-to-internet-2525").inputs == {
        "ipProtocol": "tcp",
        "fromPort": 2525,
        "toPort": 2525,
        "description": "SMTP of delivery providers",
        "securityGroupId": "${wall-worker.id}",
        "cidrIpv4": "0.0.0.0/0",
    }


@pytest.mark.parametrize(("variant", "ingress", "egress"), [("dev", 25, 31), ("prod", 26, 32)])
def test_the_number_of_rules(walls: dict[str, Graph], variant: str, ingress: int, egress: int) -> None:
    assert (len(walls[variant].of_type(INGRESS)), len(walls[variant].of_type(EGRESS))) == (ingress, egress)
