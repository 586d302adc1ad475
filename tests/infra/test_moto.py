"""The stack made for real in moto: what AWS says is there when the program has run, and the product's clients in it."""

import json
import re
from collections import Counter
from functools import partial
from typing import Any
from uuid import UUID

import pytest

from backing.aws import Aws
from backing.certificates.ledger import Busy, TableLedger
from backing.certificates.record import TableText
from backing.certificates.secrets import Secret
from backing.route53 import Zone
from backing.s3 import Bodies
from backing.secrets import credential_key, put_first
from backing.sqs import Outgoing, Queue
from infra import config, graph
from infra.flows import flows
from infra.project import Project
from tests.infra.moto_cloud import SUFFIX, Builder, Cloud
from tests.infra.moto_resources import MAKERS, WITHOUT
from tests.infra.moto_stack import Stack, Told, in_plaintext, network_of, opened, refuses_plaintext, texts_at

ACCOUNTS = {"dev": "200000000002", "prod": "300000000003"}
BODY = b"Subject: one\r\n\r\nbody\r\n"
MESSAGE = UUID(int=7)


@pytest.fixture(scope="module", params=["dev", "prod"])
def stack(request: pytest.FixtureRequest, moto_url: str, outputs_refuse_to_be_text: None) -> Stack:  # noqa: ARG001
    cloud = Cloud(moto_url, ACCOUNTS[request.param])
    built = Builder(cloud, MAKERS, WITHOUT)
    return Stack(request.param, cloud, graph.build(request.param, answers=built), built)


@pytest.fixture(scope="module")
def addresses(stack: Stack) -> dict[str, str]:
    """What network interfaces' groups are called."""
    return {
        made["id"]: name.removeprefix("-") for name, made in stack.all("aws:ec2/securityGroup:SecurityGroup").items()
    }


def test_aws_refuses_nothing(stack: Stack) -> None:
    assert stack.built.refused == []
    expected = Counter(node.type for node in stack.graph.resources if node.type not in WITHOUT)
    assert Counter(kind for kind, _ in stack.built.made) == expected
    assert expected.total() > 300


def test_what_refers_to_another_resource_has_what_aws_answered(stack: Stack) -> None:
    """A token is left only where moto made nothing that it could stand for."""
    unmade = {node.name for node in stack.graph.nodes if node.type in WITHOUT or not node.type.startswith("aws:")}
    left = {
        token
        for node in stack.graph.resources
        for token in re.findall(r"\$\{(smtp-proxy-[^}]+?)\.[a-z_0-9]+\}", json.dumps(node.inputs))
    }
    assert left - unmade == set()


def test_subnets_reach_what_their_kind_says(stack: Stack) -> None:
    vpc = stack.made("aws:ec2/vpc:Vpc", "-network")["id"]
    ours = [{"Name": "vpc-id", "Values": [vpc]}]
    names = {made["id"]: name for name, made in stack.all("aws:ec2/subnet:Subnet").items()}
    ways: dict[str, str] = {}
    for table in stack.ask("ec2", "DescribeRouteTables", Filters=ours)["RouteTables"]:
        out = [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]
        way = "nat" if out and "NatGatewayId" in out[0] else out[0]["GatewayId"][:3] if out else "nowhere"
        ways |= {names[one["SubnetId"]]: way for one in table["Associations"] if "SubnetId" in one}
    zones, private = ("abc", "nat") if stack.name == "prod" else ("ab", "igw")
    kinds = {"public": "igw", "private": private, "isolated": "nowhere"}
    if stack.name == "dev":
        kinds["private"] = ways["-network-private-a"]
    assert ways == {f"-network-{kind}-{zone}": way for kind, way in kinds.items() for zone in zones}
    gateways = stack.ask("ec2", "DescribeNatGateways", Filters=ours)["NatGateways"]
    assert [gateway["State"] for gateway in gateways] == (["available"] if stack.name == "prod" else [])
    subnets = stack.ask("ec2", "DescribeSubnets", Filters=ours)["Subnets"]
    assert {subnet["MapPublicIpOnLaunch"] for subnet in subnets} == {False}
    endpoints = stack.ask("ec2", "DescribeVpcEndpoints", Filters=ours)["VpcEndpoints"]
    assert {one["ServiceName"].rpartition(".")[2] for one in endpoints} == {"s3", "dynamodb"}


@pytest.mark.requirement("SC-7.1")
def test_groups_let_in_and_out_what_the_table_of_flows_says(stack: Stack, addresses: dict[str, str]) -> None:
    project = Project()
    settings = config.read(project.name, stack.name, project.configuration(stack.name))
    wanted = {
        (network_of(flow.source), network_of(flow.target), port) for flow in flows(settings) for port in flow.ports
    }
    groups = set(addresses.values())
    into, out = opened(stack, addresses, "IpPermissions"), opened(stack, addresses, "IpPermissionsEgress")
    assert {(other, group, port) for group, other, port in into} == {flow for flow in wanted if flow[1] in groups}
    assert out == {flow for flow in wanted if flow[0] in groups}


def test_the_database_is_sealed_private_and_kept(stack: Stack) -> None:
    (found,) = stack.ask("rds", "DescribeDBInstances")["DBInstances"]
    prod = stack.name == "prod"
    key = stack.made("aws:kms/key:Key", "-data")["arn"]
    assert {
        "Engine": "postgres",
        "StorageEncrypted": True,
        "KmsKeyId": key,
        "PubliclyAccessible": False,
        "MultiAZ": prod,
        "IAMDatabaseAuthenticationEnabled": True,
        "DeletionProtection": prod,
        "BackupRetentionPeriod": 7 if prod else 1,
        "CopyTagsToSnapshot": True,
    }.items() <= found.items()
    group = stack.made("aws:ec2/securityGroup:SecurityGroup", "-database")["id"]
    assert [one["VpcSecurityGroupId"] for one in found["VpcSecurityGroups"]] == [group]
    isolated = {made["id"] for name, made in stack.all("aws:ec2/subnet:Subnet").items() if "isolated" in name}
    assert {one["SubnetIdentifier"] for one in found["DBSubnetGroup"]["Subnets"]} == isolated
    name = found["DBParameterGroups"][0]["DBParameterGroupName"]
    parameters = stack.ask("rds", "DescribeDBParameters", DBParameterGroupName=name)["Parameters"]
    assert ("rds.force_ssl", "1") in {(one["ParameterName"], one["ParameterValue"]) for one in parameters}


def test_the_cache_is_sealed_and_survives_a_zone(stack: Stack) -> None:
    groups = stack.ask("elasticache", "DescribeReplicationGroups")["ReplicationGroups"]
    assert [
        (one["AutomaticFailover"], one["MultiAZ"], one["TransitEncryptionEnabled"], one["AtRestEncryptionEnabled"])
        for one in groups
    ] == ([("enabled", "enabled", True, True)] if stack.name == "prod" else [])
    users = {
        one["UserName"]: one["Authentication"]["Type"] for one in stack.ask("elasticache", "DescribeUsers")["Users"]
    }
    users.pop("default", None)
    assert users == {f"smtp-proxy-{stack.name}-cache-{who}": "iam" for who in ("relay", "worker", "web")}


@pytest.mark.requirement("SC-7.3")
def test_queues_are_sealed_and_what_fails_moves_aside(stack: Stack) -> None:
    queues: dict[str, Any] = {}
    for url in stack.ask("sqs", "ListQueues")["QueueUrls"]:
        attributes = stack.ask("sqs", "GetQueueAttributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
        queues[url.rpartition("/")[2].removesuffix(SUFFIX).removeprefix(f"smtp-proxy-{stack.name}-")] = attributes
    live = {"delivery", "events", "outbound"}
    live |= {"inbound", "app-orders", "app-support", "app-default"} if stack.name == "prod" else set()
    assert set(queues) == {f"{name}{end}" for name in live for end in ("", "-dead")}
    for name in live:
        redrive = json.loads(queues[name]["RedrivePolicy"])
        assert redrive == {"deadLetterTargetArn": queues[f"{name}-dead"]["QueueArn"], "maxReceiveCount": 5}
    key = stack.made("aws:kms/key:Key", "-data")["arn"]
    for attributes in queues.values():
        assert refuses_plaintext(attributes["Policy"])
        if stack.name == "prod":
            assert attributes["KmsMasterKeyId"] == key
        else:
            assert attributes["SqsManagedSseEnabled"] == "true"


@pytest.mark.requirement("SC-7.3")
def test_buckets_are_sealed_closed_and_swept(stack: Stack) -> None:
    names = {made["id"]: name for name, made in stack.all("aws:s3/bucket:Bucket").items()}
    assert {one["Name"] for one in stack.ask("s3", "ListBuckets")["Buckets"]} == set(names)
    for bucket, name in names.items():
        ask = partial(stack.ask, "s3", Bucket=bucket)
        (rule,) = ask("GetBucketEncryption")["ServerSideEncryptionConfiguration"]["Rules"]
        own = stack.name == "prod" and name != "-access"
        sealed = rule["ApplyServerSideEncryptionByDefault"]
        assert sealed["SSEAlgorithm"] == ("aws:kms" if own else "AES256")
        assert rule["BucketKeyEnabled"] is own
        assert set(ask("GetPublicAccessBlock")["PublicAccessBlockConfiguration"].values()) == {True}
        (owner,) = ask("GetBucketOwnershipControls")["OwnershipControls"]["Rules"]
        assert owner == {"ObjectOwnership": "BucketOwnerEnforced"}
        assert refuses_plaintext(ask("GetBucketPolicy")["Policy"])
        assert {one["Status"] for one in ask("GetBucketLifecycleConfiguration")["Rules"]} == {"Enabled"}
        assert ask("GetBucketVersioning").get("Status") == ("Enabled" if name == "-backups" else None)
        logs = {"TargetBucket": stack.made("aws:s3/bucket:Bucket", "-access")["id"], "TargetPrefix": "s3/"}
        assert ask("GetBucketLogging").get("LoggingEnabled") == (None if name == "-access" else logs)
    mail = stack.made("aws:s3/bucket:Bucket", "-mail")["id"]
    told = stack.ask("s3", "GetBucketNotificationConfiguration", Bucket=mail).get("QueueConfigurations", [])
    inbound = [stack.made("aws:sqs/queue:Queue", "-inbound")["arn"]] if stack.name == "prod" else []
    assert [one["QueueArn"] for one in told] == inbound


def test_the_table_forgets_and_is_kept(stack: Stack) -> None:
    (name,) = stack.ask("dynamodb", "ListTables")["TableNames"]
    table = stack.ask("dynamodb", "DescribeTable", TableName=name)["Table"]
    assert table["KeySchema"] == [{"AttributeName": "id", "KeyType": "HASH"}]
    # Without a key of the stack's, DynamoDB seals it with its own, and says nothing of it.
    key = {"dev": None, "prod": stack.made("aws:kms/key:Key", "-data")["arn"]}
    assert table.get("SSEDescription", {}).get("KMSMasterKeyArn") == key[stack.name]
    assert table["DeletionProtectionEnabled"] is (stack.name == "prod")
    ttl = stack.ask("dynamodb", "DescribeTimeToLive", TableName=name)["TimeToLiveDescription"]
    assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}


def test_keys_rotate_and_belong_to_the_account(stack: Stack) -> None:
    for made in stack.all("aws:kms/key:Key").values():
        assert stack.ask("kms", "GetKeyRotationStatus", KeyId=made["id"])["KeyRotationEnabled"]
        policy = json.loads(stack.ask("kms", "GetKeyPolicy", KeyId=made["id"], PolicyName="default")["Policy"])
        root = f"arn:aws:iam::{stack.cloud.account}:root"
        people = {one["Principal"]["AWS"] for one in policy["Statement"] if "AWS" in one["Principal"]}
        assert people == {root}
        assert all("Condition" in one for one in policy["Statement"] if "Service" in one["Principal"])
    aliases = stack.ask("kms", "ListAliases")["Aliases"]
    ours = {one["AliasName"] for one in aliases if one["AliasName"].startswith("alias/smtp-proxy")}
    assert ours == {f"alias/smtp-proxy-{stack.name}-{name}" for name in ("data", "secrets", "watch")}


def test_secrets_are_sealed_with_the_stacks_key(stack: Stack) -> None:
    secrets = {one["Name"]: one["KmsKeyId"] for one in stack.ask("secretsmanager", "ListSecrets")["SecretList"]}
    key = stack.made("aws:kms/key:Key", "-secrets")["arn"]
    own = {name: value for name, value in secrets.items() if name.startswith("smtp-proxy/")}
    names = ("credential-key", "certificate", "acme-account")
    assert own == {f"smtp-proxy/{stack.name}/{name}": key for name in names}


@pytest.mark.requirement("ECS-002")
def test_services_run_with_their_roles_behind_their_balancers(stack: Stack) -> None:
    cluster = stack.made("aws:ecs/cluster:Cluster", "")["arn"]
    arns = stack.ask("ecs", "ListServices", cluster=cluster)["serviceArns"]
    services = stack.ask("ecs", "DescribeServices", cluster=cluster, services=arns)["services"]
    roles = {one["Arn"]: one["RoleName"] for one in stack.ask("iam", "ListRoles")["Roles"]}
    groups = {one["TargetGroupArn"]: one["Port"] for one in stack.ask("elbv2", "DescribeTargetGroups")["TargetGroups"]}
    found = {}
    for service in services:
        task = stack.ask("ecs", "DescribeTaskDefinition", taskDefinition=service["taskDefinition"])["taskDefinition"]
        (container,) = task["containerDefinitions"]
        ports = {groups[one["targetGroupArn"]] for one in service["loadBalancers"]}
        assert ports <= {one["containerPort"] for one in container["portMappings"]}
        assert container["readonlyRootFilesystem"] is (stack.name == "prod")
        assert container["user"] != "root"
        logs = container["logConfiguration"]["options"]["awslogs-group"]
        (group,) = stack.ask("logs", "DescribeLogGroups", logGroupNamePrefix=logs)["logGroups"]
        assert group["retentionInDays"] == (30 if stack.name == "prod" else 7)
        found[service["serviceName"].removesuffix(SUFFIX).rpartition("-")[2]] = (
            roles[task["taskRoleArn"]].removesuffix(SUFFIX).rpartition("-")[2],
            roles[task["executionRoleArn"]].removesuffix(SUFFIX).rpartition("-")[2],
            tuple(sorted(ports)),
        )
    assert found == {
        "relay": ("relay", "execution", (2465, 2587)),
        "worker": ("worker", "execution", ()),
        "api": ("api", "execution", (8080,)),
        "console": ("console", "execution", (8080,)),
    }


def test_balancers_listen_and_forward(stack: Stack) -> None:
    kinds = {
        one["LoadBalancerArn"]: one["Type"] for one in stack.ask("elbv2", "DescribeLoadBalancers")["LoadBalancers"]
    }
    found = {}
    for arn, kind in kinds.items():
        for listener in stack.ask("elbv2", "DescribeListeners", LoadBalancerArn=arn)["Listeners"]:
            (action,) = listener["DefaultActions"]
            found[kind, listener["Port"]] = (listener["Protocol"], action["Type"])
    assert found == {
        ("network", 587): ("TCP", "forward"),
        ("network", 465): ("TCP", "forward"),
        ("application", 80): ("HTTP", "redirect"),
        ("application", 443): ("HTTPS", "forward"),
        ("application", 8443): ("HTTPS", "forward"),
    }


def test_names_lead_to_the_balancers(stack: Stack) -> None:
    zone = stack.made("aws:route53/zone:Zone", "-zone")["id"]
    records = stack.ask("route53", "ListResourceRecordSets", HostedZoneId=zone)["ResourceRecordSets"]
    aliases = {one["Name"]: one["AliasTarget"]["DNSName"] for one in records if "AliasTarget" in one}
    top = "mail.example.com" if stack.name == "prod" else "dev.mail.example.com"
    balancers = stack.all("aws:lb/loadBalancer:LoadBalancer")
    assert {name: target.removesuffix(".") for name, target in aliases.items()} == {
        f"smtp.{top}.": balancers["-smtp"]["dnsName"],
        f"console.{top}.": balancers["-web"]["dnsName"],
    }
    (certificate,) = stack.ask("acm", "ListCertificates")["CertificateSummaryList"]
    assert certificate["DomainName"] == f"console.{top}"
    kinds = Counter(one["Type"] for one in records)
    # Three of DKIM and one of ACM; where mail comes back to, and in prod where it comes in.
    assert (kinds["CNAME"], kinds["CAA"], kinds["MX"]) == (4, 2, 2 if stack.name == "prod" else 1)


def test_ses_sends_for_the_domain_and_stores_what_comes_in(stack: Stack) -> None:
    top = "mail.example.com" if stack.name == "prod" else "dev.mail.example.com"
    identities = stack.ask("sesv2", "ListEmailIdentities")["EmailIdentities"]
    assert [one["IdentityName"] for one in identities] == [top]
    assert stack.ask("sesv2", "ListConfigurationSets")["ConfigurationSets"] == [f"smtp-proxy-{stack.name}-ses"]
    if stack.name == "prod":
        rules = stack.ask("ses", "DescribeReceiptRuleSet", RuleSetName="smtp-proxy-prod-inbound")["Rules"]
        assert [(one["Recipients"], one["Actions"][0]["S3Action"]["BucketName"]) for one in rules] == [
            (["in.mail.example.com"], stack.made("aws:s3/bucket:Bucket", "-mail")["id"])
        ]


def test_alarms_are_told_to_the_topic(stack: Stack) -> None:
    topic = stack.made("aws:sns/topic:Topic", "-alarms")["arn"]
    alarms = [
        alarm
        for page in stack.cloud.client("cloudwatch").get_paginator("describe_alarms").paginate()
        for alarm in page["MetricAlarms"]
        # Those of target tracking are AWS's own.
        if not alarm["AlarmName"].startswith("TargetTracking-")
    ]
    assert len(alarms) == len(stack.all("aws:cloudwatch/metricAlarm:MetricAlarm"))
    policies = {made["arn"] for made in stack.all("aws:appautoscaling/policy:Policy").values()}
    actions = {action for alarm in alarms for action in alarm["AlarmActions"]}
    assert {topic} < actions <= {topic, *policies}
    subscribed = stack.ask("sns", "ListSubscriptionsByTopic", TopicArn=topic)["Subscriptions"]
    assert [one["Endpoint"] for one in subscribed] == (["postmaster@example.com"] if stack.name == "prod" else [])
    dashboards = stack.ask("cloudwatch", "ListDashboards")["DashboardEntries"]
    assert [one["DashboardName"] for one in dashboards] == [f"smtp-proxy-{stack.name}"]


def test_events_and_schedules_have_targets(stack: Stack) -> None:
    targets = {
        rule["Name"].removesuffix(SUFFIX): stack.ask("events", "ListTargetsByRule", Rule=rule["Name"])["Targets"]
        for rule in stack.ask("events", "ListRules")["Rules"]
    }
    arns = {made["arn"] for kind in ("aws:sqs/queue:Queue", "aws:sns/topic:Topic") for made in stack.all(kind).values()}
    assert len(targets) == len(stack.all("aws:cloudwatch/eventRule:EventRule"))
    assert all(found and {one["Arn"] for one in found} <= arns for found in targets.values())
    schedule = stack.ask(
        "scheduler", "GetSchedule", Name=stack.made("aws:scheduler/schedule:Schedule", "-renewer")["name"]
    )
    assert schedule["Target"]["Arn"] == stack.made("aws:ecs/cluster:Cluster", "")["arn"]
    task = stack.made("aws:ecs/taskDefinition:TaskDefinition", "-renewer")["arn"]
    assert schedule["Target"]["EcsParameters"]["TaskDefinitionArn"] == task
    assert schedule["Target"]["RoleArn"] == stack.made("aws:iam/role:Role", "-renewer-schedule")["arn"]


def test_services_are_scaled(stack: Stack) -> None:
    targets = stack.ask("application-autoscaling", "DescribeScalableTargets", ServiceNamespace="ecs")["ScalableTargets"]
    cluster = stack.made("aws:ecs/cluster:Cluster", "")["arn"]
    services = {
        arn.partition(":service/")[2] for arn in stack.ask("ecs", "ListServices", cluster=cluster)["serviceArns"]
    }
    assert {one["ResourceId"].removeprefix("service/") for one in targets} == services


@pytest.fixture
def told(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Told:
    """The account's credentials and endpoint are where the SDK looks for them, as they are in a task."""
    for name, value in stack.cloud.keys.items():
        monkeypatch.setenv(name.upper(), value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", stack.cloud.endpoint)
    return Told(stack)


@pytest.mark.anyio
async def test_what_the_relay_queues_and_stores_the_worker_finds(told: Told) -> None:
    relay, worker = told.of("relay"), told.of("worker")
    aws = Aws(relay["AWS_REGION"])
    async with aws.sqs() as client, aws.direct_sqs(client) as direct, aws.s3() as s3:
        assert await Queue(client, relay["QUEUE_URL"], direct).send([Outgoing("job", "account")]) == [None]
        queue = Queue(client, worker["QUEUE_URL"], direct)
        assert [message.text for message in await queue.receive(1, 0, 30)] == ["job"]
        with in_plaintext(told):
            place = await Bodies(s3, relay["BODY_BUCKET"]).put(MESSAGE, BODY)
            assert await Bodies(s3, worker["BODY_BUCKET"]).get(place) == BODY
            await Bodies(s3, worker["BODY_BUCKET"]).delete(place)


@pytest.mark.anyio
async def test_the_key_that_is_prepared_is_the_one_that_services_read(told: Told) -> None:
    aws = Aws(told.of("prepare")["AWS_REGION"])
    async with aws.secrets() as secrets:
        await put_first(secrets, told.of("prepare")["CREDENTIAL_KEY_SECRET"], "a" * 43)
        keys = [await credential_key(secrets, told.of(role)["CREDENTIAL_KEY_SECRET"]) for role in ("relay", "api")]
        assert keys[0] == keys[1]
        assert len(keys[0]) == 32


@pytest.mark.anyio
async def test_the_renewer_takes_its_lock_and_proves_the_name_in_the_zone(told: Told) -> None:
    renewer, relay, api = told.of("renewer"), told.of("relay"), told.of("api")
    challenge = f"_acme-challenge.{renewer['CERTIFICATE_NAMES']}"
    aws = Aws(renewer["AWS_REGION"])
    async with aws.dynamodb() as dynamodb, aws.route53() as route53, aws.secrets() as secrets:
        ledger = TableLedger(dynamodb, renewer["LOCK_TABLE"], "lock")
        assert await ledger.take() == ""
        with pytest.raises(Busy):
            await ledger.take()
        await ledger.release("renewed")
        assert await ledger.look() == "renewed"
        await TableText(dynamodb, renewer["LOCK_TABLE"], renewer["CERTIFICATE_NAMES"]).write("record")
        assert await TableText(dynamodb, api["CERTIFICATE_TABLE"], api["CERTIFICATE_HOSTS"]).read() == "record"
        zone = Zone(route53, renewer["DNS_ZONE_ID"], look_seconds=0.01)
        await zone.publish({challenge: ["proof"]}, 30)
        assert texts_at(told.stack, renewer["DNS_ZONE_ID"], challenge) == ['"proof"']
        await zone.withdraw({challenge: ["proof"]})
        assert texts_at(told.stack, renewer["DNS_ZONE_ID"], challenge) == []
        await Secret(secrets, renewer["CERTIFICATE_SECRET"]).write("certificate")
        assert await Secret(secrets, relay["RELAY_CERTIFICATE_SECRETS"]).read() == "certificate"
