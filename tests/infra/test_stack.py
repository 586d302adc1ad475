from collections import Counter

import pytest

from infra.graph import Graph
from tests.infra.wiring import prefix, subnets, tasks, token


@pytest.mark.requirement("SC-7.1")
def test_the_whole_stack_of_production(prod: Graph) -> None:
    counts = Counter(node.type for node in prod.resources)
    assert {
        kind: counts[kind]
        for kind in (
            "aws:ec2/vpc:Vpc",
            "aws:ec2/natGateway:NatGateway",
            "aws:rds/instance:Instance",
            "aws:elasticache/replicationGroup:ReplicationGroup",
            "aws:ecs/cluster:Cluster",
            "aws:ecs/service:Service",
            "aws:ecs/taskDefinition:TaskDefinition",
            "aws:lb/loadBalancer:LoadBalancer",
            "aws:route53/zone:Zone",
        )
    } == {
        "aws:ec2/vpc:Vpc": 1,
        "aws:ec2/natGateway:NatGateway": 1,
        "aws:rds/instance:Instance": 1,
        "aws:elasticache/replicationGroup:ReplicationGroup": 1,
        "aws:ecs/cluster:Cluster": 1,
        "aws:ecs/service:Service": 4,
        "aws:ecs/taskDefinition:TaskDefinition": 7,
        "aws:lb/loadBalancer:LoadBalancer": 2,
        "aws:route53/zone:Zone": 1,
    }


@pytest.mark.requirement("SC-7.1")
def test_a_subnet_of_each_kind_is_in_each_zone(stack: Graph) -> None:
    zones = {"dev": "ab", "prod": "abc"}[stack.stack]
    assert {
        node.name.removeprefix(f"{prefix(stack)}-network-"): node.inputs["availabilityZone"]
        for node in stack.of_type("aws:ec2/subnet:Subnet")
    } == {f"{tier}-{zone}": f"us-east-1{zone}" for tier in ("public", "private", "isolated") for zone in zones}


@pytest.mark.requirement("SC-7.1")
def test_database_and_cache_outlive_a_zone(prod: Graph) -> None:
    (database,) = prod.of_type("aws:rds/instance:Instance")
    (cache,) = prod.of_type("aws:elasticache/replicationGroup:ReplicationGroup")
    assert (database.inputs["engine"], database.inputs["engineVersion"], database.inputs["multiAz"]) == (
        "postgres",
        "17",
        True,
    )
    shards, replicas = cache.inputs["numNodeGroups"], cache.inputs["replicasPerNodeGroup"]
    assert (shards * (1 + replicas), cache.inputs["multiAzEnabled"], cache.inputs["automaticFailoverEnabled"]) == (
        3,
        True,
        True,
    )


@pytest.mark.requirement("SC-7.1")
@pytest.mark.requirement("QG-1")
def test_everything_is_tagged_through_the_provider(stack: Graph) -> None:
    (provider,) = stack.of_type("pulumi:providers:aws")
    assert provider.inputs == {
        "region": "us-east-1",
        "defaultTags": (f'{{"tags": {{"Project": "smtp-proxy", "Stack": "{stack.stack}", "ManagedBy": "pulumi"}}}}'),
        # The provider's own defaults.
        "skipCredentialsValidation": "false",
        "skipRegionValidation": "true",
    }
    assert {node.provider.rpartition("::")[0] for node in stack.resources} == {provider.urn}
    # Tags of a resource of its own are names that the console shows, and never stand in for those of the provider.
    assert {key for node in stack.resources for key in node.inputs.get("tags", {})} == {"Name"}


@pytest.mark.requirement("QG-1")
def test_names_begin_with_project_and_stack(stack: Graph) -> None:
    # Those of target groups are cut to what AWS takes, and keep their beginning.
    odd = [node.name for node in stack.nodes if not node.name.startswith(prefix(stack))]
    assert [name for name in odd if not name.endswith(("-blue", "-green"))] == ["aws"]
    assert len([name for name in odd if name != "aws"]) == 8


@pytest.mark.requirement("QG-5")
def test_production_is_kept_twice_and_a_stack_to_try_not_at_all(stack: Graph) -> None:
    kept = stack.stack == "prod"
    assert {node.protect for node in stack.nodes if node.name != "aws"} == {kept}
    own = {
        node.name.removeprefix(f"{prefix(stack)}-"): node.inputs[key]
        for node in stack.resources
        for key in ("deletionProtection", "enableDeletionProtection", "deletionProtectionEnabled")
        if key in node.inputs
    }
    assert own == {"database": kept, "smtp": kept, "web": kept, "once": kept}
    # Entries of service discovery leave with the tasks that run; a zone may hold records of others, and says so.
    forced = {
        (key, node.inputs[key])
        for node in stack.resources
        for key in ("forceDestroy", "forceDelete", "skipFinalSnapshot")
        if key in node.inputs and not node.type.startswith(("aws:servicediscovery/", "aws:route53/"))
    }
    assert forced == {("forceDestroy", not kept), ("forceDelete", not kept), ("skipFinalSnapshot", not kept)}


def test_what_the_stack_tells(stack: Graph) -> None:
    zone = {"dev": "dev.mail.example.com", "prod": "mail.example.com"}[stack.stack]
    apps = {"dev": (), "prod": ("orders", "support", "default")}[stack.stack]
    assert stack.exports == {
        "smtp_endpoint": f"smtp.{zone}",
        "web_endpoint": f"https://console.{zone}",
        "name_servers": [token(stack, "zone", f"name_server_{number}") for number in range(4)],
        # The zone is the stack's own, and the records are in it.
        "dns_records": [],
        "egress_addresses": [token(stack, "network-nat-a", "public_ip")] if stack.stack == "prod" else [],
        "smtp_balancer": token(stack, "smtp", "dns_name"),
        "web_balancer": token(stack, "web", "dns_name"),
        "cluster": token(stack, "", "name"),
        "operator_task": f"{prefix(stack)}-operator",
        "renewer_task": f"{prefix(stack)}-renewer",
        "task_subnets": tasks(stack),
        "tasks_have_public_ip": stack.stack == "dev",
        "operator_security_group": token(stack, "operator"),
        "renewer_security_group": token(stack, "renewer"),
        "repositories": {room: token(stack, room, "repository_url") for room in ("relay", "worker", "web")},
        "delivery_queue_url": token(stack, "delivery", "url"),
        "delivery_dead_letter_queue_url": token(stack, "delivery-dead", "url"),
        "outbound_queue_url": token(stack, "outbound", "url"),
        "app_queue_urls": {app: token(stack, f"app-{app}", "url") for app in apps},
        "mail_bucket": token(stack, "mail", "bucket"),
        "configuration_set": f"{prefix(stack)}-ses",
        "provider_key": f"alias/{prefix(stack)}-secrets",
        "alarm_topic": f"arn:aws:sns:${{region}}:${{account}}:{token(stack, 'alarms', 'arn')}",
    }


def test_balancers_are_public_and_data_is_isolated(stack: Graph) -> None:
    balancers = stack.of_type("aws:lb/loadBalancer:LoadBalancer")
    groups = stack.of_type("aws:rds/subnetGroup:SubnetGroup")
    caches = [
        *stack.of_type("aws:elasticache/subnetGroup:SubnetGroup"),
        *stack.of_type("aws:elasticache/serverlessCache:ServerlessCache"),
    ]
    assert [node.inputs["subnets"] for node in balancers] == [subnets(stack, "public")] * 2
    assert [node.inputs["subnetIds"] for node in (*groups, *caches)] == [subnets(stack, "isolated")] * 2


def test_one_stack_leaves_nothing_in_the_next(stack: Graph, prod: Graph) -> None:
    other = {"dev": "prod", "prod": "dev"}[stack.stack]
    assert {node.urn.split(":")[2] for node in (*stack.nodes, *prod.nodes)} == {stack.stack, "prod"}
    assert f"smtp-proxy-{other}" not in str(stack)
