from typing import Any

import pytest

from infra.graph import Graph, Node
from tests.infra.wiring import (
    RUN,
    SERVICE,
    TASK,
    arn,
    container,
    prefix,
    target,
    tasks,
    token,
    told,
)

SERVICES = ("relay", "worker", "api", "console")
ROLES = (*SERVICES, "renewer", "prepare", "operator")
IMAGES = {"relay": "relay", "api": "web", "console": "web"}


def service(graph: Graph, name: str) -> Node:
    return graph.one(SERVICE, f"{prefix(graph)}-{name}")


def inputs(graph: Graph, name: str, *keys: str) -> dict[str, Any]:
    return {key: service(graph, name).inputs.get(key) for key in keys}


@pytest.mark.requirement("ECS-001")
@pytest.mark.requirement("ECS-011")
def test_four_services_run_on_fargate_and_nothing_else_does(stack: Graph) -> None:
    assert sorted(node.name for node in stack.of_type(SERVICE)) == sorted(
        f"{prefix(stack)}-{name}" for name in SERVICES
    )
    assert sorted(node.name for node in stack.of_type(TASK)) == sorted(f"{prefix(stack)}-{role}" for role in ROLES)
    assert [node.inputs["requiresCompatibilities"] for node in stack.of_type(TASK)] == [["FARGATE"]] * len(ROLES)
    on_spot = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 3},
    ]
    for name in SERVICES:
        spot = stack.stack == "dev" and name == "worker"
        assert inputs(stack, name, "launchType", "capacityProviderStrategies", "platformVersion") == {
            "launchType": None if spot else "FARGATE",
            "capacityProviderStrategies": on_spot if spot else None,
            "platformVersion": "LATEST",
        }
    assert {
        node.type for node in stack.resources if node.type.startswith(("aws:autoscaling", "aws:ec2/instance"))
    } == set()


@pytest.mark.requirement("SC-7.2")
def test_how_many_tasks_there_are_at_first(stack: Graph) -> None:
    assert {name: service(stack, name).inputs["desiredCount"] for name in SERVICES} == {
        "prod": {"relay": 2, "worker": 1, "api": 2, "console": 2},
        "dev": {"relay": 1, "worker": 1, "api": 1, "console": 1},
    }[stack.stack]
    # From then on auto scaling says how many; CodeDeploy swaps the rest on every release.
    swapped = ("taskDefinition", "loadBalancers", "networkConfiguration", "platformVersion")
    assert {name: service(stack, name).ignore_changes for name in SERVICES} == {
        "relay": ("desiredCount",),
        "worker": ("desiredCount",),
        "api": (*swapped, "desiredCount"),
        "console": (*swapped, "desiredCount"),
    }


@pytest.mark.requirement("SC-7.2")
@pytest.mark.requirement("ECS-007")
@pytest.mark.requirement("ECS-012")
def test_no_task_runs_without_somebody_asking_how_it_is(stack: Graph) -> None:
    ports = {"relay": 8081, "worker": 8081, "api": 8081, "console": 8081}
    assert {name: container(stack, name)["healthCheck"] for name in SERVICES} == {
        name: {
            "command": ["CMD", "python", "-m", "backing.probe", f"http://127.0.0.1:{port}/livez"],
            "interval": 15,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 30,
        }
        for name, port in ports.items()
    }
    # ECS has no grace to give where no load balancer asks.
    assert {name: service(stack, name).inputs.get("healthCheckGracePeriodSeconds") for name in SERVICES} == {
        "relay": 60,
        "worker": None,
        "api": 60,
        "console": 60,
    }
    asked = {
        (node.inputs["port"], node.inputs["healthCheck"]["port"], node.inputs["healthCheck"]["path"])
        for node in stack.of_type("aws:lb/targetGroup:TargetGroup")
    }
    assert asked == {(2587, "8081", "/readyz"), (2465, "8081", "/readyz"), (8080, "traffic-port", "/readyz")}


@pytest.mark.requirement("ECS-013")
def test_tasks_and_images_are_of_one_processor(stack: Graph) -> None:
    arm = {"operatingSystemFamily": "LINUX", "cpuArchitecture": "ARM64"}
    assert [node.inputs["runtimePlatform"] for node in stack.of_type(TASK)] == [arm] * len(ROLES)
    assert [node.inputs["platforms"] for node in stack.of_type("docker-build:index:Image")] == [["linux/arm64"]] * 3


@pytest.mark.requirement("ECS-014")
def test_shells_are_for_the_stack_to_try(stack: Graph) -> None:
    allowed = stack.stack == "dev"
    assert {service(stack, name).inputs["enableExecuteCommand"] for name in SERVICES} == {allowed}
    # What ECS Exec writes it writes to the root file system.
    assert {container(stack, role)["readonlyRootFilesystem"] for role in ROLES} == {not allowed}
    policies = [node for node in stack.of_type("aws:iam/rolePolicy:RolePolicy") if "roles:TaskRole" in node.parent]
    assert len(policies) == len(ROLES)
    assert {"ssmmessages:OpenDataChannel" in node.inputs["policy"] for node in policies} == {allowed}
    assert [node.name for node in stack.of_type("aws:cloudwatch/logGroup:LogGroup") if node.name.endswith("-exec")] == (
        [f"{prefix(stack)}-exec"] if allowed else []
    )


def test_every_task_has_a_role_and_a_log_of_its_own(stack: Graph) -> None:
    sizes = {"relay": ("512", "1024"), "worker": ("512", "1024")}
    for role in ROLES:
        task = stack.one(TASK, f"{prefix(stack)}-{role}")
        assert {key: task.inputs[key] for key in ("family", "taskRoleArn", "executionRoleArn", "cpu", "memory")} == {
            "family": f"{prefix(stack)}-{role}",
            "taskRoleArn": arn(stack, "iam", role),
            "executionRoleArn": arn(stack, "iam", "execution"),
            "cpu": sizes.get(role, ("256", "512"))[0],
            "memory": sizes.get(role, ("256", "512"))[1],
        }
        assert container(stack, role)["image"] == token(stack, IMAGES.get(role, "worker"), "ref")
        assert container(stack, role)["logConfiguration"]["options"]["awslogs-group"] == f"/ecs/{prefix(stack)}-{role}"
        log = stack.one("aws:cloudwatch/logGroup:LogGroup", f"{prefix(stack)}-{role}")
        assert log.inputs == {
            "name": f"/ecs/{prefix(stack)}-{role}",
            "kmsKeyId": arn(stack, "kms", "watch"),
            "retentionInDays": {"dev": 7, "prod": 30}[stack.stack],
        }


def test_the_renewer_has_one_role_and_who_starts_it_another(stack: Graph) -> None:
    # Both have the same name, so that only their URNs tell them apart.
    task = stack.one(TASK, f"{prefix(stack)}-renewer")
    schedule = stack.one("aws:scheduler/schedule:Schedule", f"{prefix(stack)}-renewer")
    assert ["roles:TaskRole" in urn for urn in task.references["taskRoleArn"]] == [True]
    assert ["schedule:Schedule" in urn for urn in schedule.references["target"] if "iam/role:Role" in urn] == [True]


def test_what_each_task_runs(prod: Graph) -> None:
    assert {role: container(prod, role)["command"] for role in ROLES} == {
        "relay": ["python", "-m", "relay"],
        "worker": ["python", "-m", "worker"],
        "api": ["python", "-m", "web.api"],
        "console": ["python", "-m", "web.console"],
        "renewer": ["python", "-m", "worker.certificates", "renew"],
        "prepare": ["python", "-m", "backing", "prepare"],
        "operator": ["python", "-m", "backing", "--help"],
    }
    assert {role: [one["containerPort"] for one in container(prod, role)["portMappings"]] for role in ROLES} == {
        "relay": [2587, 2465, 8081],
        "worker": [8081],
        "api": [8080, 8081],
        "console": [8080, 8081],
        "renewer": [],
        "prepare": [],
        "operator": [],
    }


def test_services_are_placed_in_the_task_subnets_each_in_its_group(stack: Graph) -> None:
    named = {name: {"registryArn": arn(stack, "servicediscovery", f"discovery-{name}")} for name in ("worker", "api")}
    for name in SERVICES:
        assert inputs(stack, name, "cluster", "taskDefinition", "networkConfiguration", "serviceRegistries") == {
            "cluster": arn(stack, "ecs", ""),
            "taskDefinition": arn(stack, "ecs", name),
            "networkConfiguration": {
                "subnets": tasks(stack),
                "securityGroups": [token(stack, name)],
                "assignPublicIp": stack.stack == "dev",
            },
            "serviceRegistries": named.get(name),
        }


def test_the_relay_is_behind_both_ports(stack: Graph) -> None:
    assert service(stack, "relay").inputs["loadBalancers"] == [
        {
            "containerName": "main",
            "containerPort": inner,
            "targetGroupArn": target(stack, outer, "blue"),
            "advancedConfiguration": {
                "alternateTargetGroupArn": target(stack, outer, "green"),
                "productionListenerRule": arn(stack, "lb", f"smtp-{outer}"),
                "roleArn": arn(stack, "iam", "balancing"),
            },
        }
        for outer, inner in (("587", 2587), ("465", 2465))
    ]


def test_api_and_console_are_behind_the_web(stack: Graph) -> None:
    for name in ("api", "console"):
        assert service(stack, name).inputs["loadBalancers"] == [
            {"containerName": "main", "containerPort": 8080, "targetGroupArn": target(stack, name, "blue")}
        ]
    assert "loadBalancers" not in service(stack, "worker").inputs


@pytest.mark.requirement("ECS-003")
@pytest.mark.requirement("ECS-006")
def test_how_a_release_of_each_service_goes_out_and_back(prod: Graph) -> None:
    keys = ("deploymentController", "deploymentConfiguration", "deploymentCircuitBreaker", "alarms", "sigintRollback")
    assert {name: inputs(prod, name, *keys) for name in SERVICES} == {
        "relay": {
            "deploymentController": {"type": "ECS"},
            "deploymentConfiguration": {
                "strategy": "CANARY",
                "bakeTimeInMinutes": "10",
                "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": "15"},
            },
            "deploymentCircuitBreaker": None,
            "alarms": {
                "enable": True,
                "rollback": True,
                "alarmNames": ["smtp-proxy-prod-relay-errors", "smtp-proxy-prod-relay-slow"],
            },
            "sigintRollback": True,
        },
        "worker": {
            "deploymentController": {"type": "ECS"},
            "deploymentConfiguration": {"strategy": "ROLLING"},
            "deploymentCircuitBreaker": {"enable": True, "rollback": True},
            "alarms": {"enable": True, "rollback": True, "alarmNames": ["smtp-proxy-prod-worker-errors"]},
            "sigintRollback": True,
        },
        "api": {**dict.fromkeys(keys), "deploymentController": {"type": "CODE_DEPLOY"}},
        "console": {**dict.fromkeys(keys), "deploymentController": {"type": "CODE_DEPLOY"}},
    }


def test_alarms_that_take_a_release_back_are_alarms_of_the_stack(prod: Graph) -> None:
    named = {name for one in SERVICES for name in service(prod, one).inputs.get("alarms", {}).get("alarmNames", [])}
    assert named
    assert named <= {node.inputs.get("name") for node in prod.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")}


@pytest.mark.requirement("ECS-004")
@pytest.mark.requirement("ECS-010")
def test_tasks_are_told_where_secrets_are_and_never_what_they_are(stack: Graph) -> None:
    assert [role for role in ROLES if "secrets" in container(stack, role)] == []
    secrets = {
        (role, key): value
        for role in ROLES
        for key, value in told(stack, role).items()
        if "SECRET" in key or "KEY" in key
    }
    credential, certificate, account = (
        arn(stack, "secretsmanager", name) for name in ("credential-key", "certificate", "acme-account")
    )
    provider = arn(stack, "kms", "secrets")
    assert secrets == {
        ("relay", "CREDENTIAL_KEY_SECRET"): credential,
        ("relay", "RELAY_CERTIFICATE_SECRETS"): certificate,
        ("worker", "PROVIDER_KEY"): provider,
        ("api", "CREDENTIAL_KEY_SECRET"): credential,
        ("api", "PROVIDER_KEY"): provider,
        ("console", "CREDENTIAL_KEY_SECRET"): credential,
        ("console", "PROVIDER_KEY"): provider,
        ("renewer", "ACME_ACCOUNT_SECRET"): account,
        ("renewer", "CERTIFICATE_SECRET"): certificate,
        ("prepare", "CREDENTIAL_KEY_SECRET"): credential,
        ("prepare", "DATABASE_MASTER_SECRET"): token(stack, "database", "master_secret_arn"),
        ("operator", "CREDENTIAL_KEY_SECRET"): credential,
        ("operator", "PROVIDER_KEY"): provider,
        ("operator", "ISSUED_SECRET_PREFIX"): f"smtp-proxy/{stack.stack}/issued/",
        ("operator", "ISSUED_SECRET_KEY"): provider,
    }


def test_services_find_what_they_lean_on(stack: Graph) -> None:
    cache = {"dev": token(stack, "cache", "address"), "prod": token(stack, "cache", "configuration_endpoint_address")}
    name = {"dev": token(stack, "cache", "name"), "prod": token(stack, "cache", "replication_group_id")}
    users = {"relay": "relay", "worker": "worker", "api": "web", "console": "web", "operator": "web"}
    for role, user in users.items():
        found = told(stack, role)
        assert {
            key: found[key] for key in ("CACHE_URL", "CACHE_NAME", "CACHE_IAM_USER", "DATABASE_URL", "QUEUE_URL")
        } == {
            "CACHE_URL": f"rediss://{cache[stack.stack]}:6379",
            "CACHE_NAME": name[stack.stack],
            "CACHE_IAM_USER": f"{prefix(stack)}-cache-{user}",
            "DATABASE_URL": (
                f"postgresql://{user}@{token(stack, 'database', 'address')}:5432/smtp_proxy"
                "?sslmode=verify-full&sslrootcert=/etc/ssl/certs/rds.pem"
            ),
            "QUEUE_URL": token(stack, "delivery", "url"),
        }
    assert {told(stack, role).get("DEAD_LETTER_QUEUE_URL") for role in ("worker", "api", "console", "operator")} == {
        token(stack, "delivery-dead", "url")
    }
    assert told(stack, "worker")["EVENTS_QUEUE_URL"] == token(stack, "events", "url")
    assert {told(stack, role)["BODY_BUCKET"] for role in SERVICES if role != "console"} == {
        token(stack, "mail", "bucket")
    }


@pytest.mark.requirement("TLS-008")
@pytest.mark.requirement("TLS-017")
def test_the_certificate_of_the_endpoint(stack: Graph) -> None:
    zone = {"dev": "dev.mail.example.com", "prod": "mail.example.com"}[stack.stack]
    authority = {"dev": "acme-staging-v02", "prod": "acme-v02"}[stack.stack]
    assert told(stack, "renewer") == {
        "ACME_ACCOUNT_SECRET": arn(stack, "secretsmanager", "acme-account"),
        "ACME_CHALLENGE": "dns-01",
        "ACME_DIRECTORY_URL": f"https://{authority}.api.letsencrypt.org/directory",
        "ACME_EMAIL": "",
        "AWS_REGION": "us-east-1",
        "CERTIFICATE_BACKUP_BUCKET": token(stack, "backups", "bucket"),
        "CERTIFICATE_NAMES": f"smtp.{zone}",
        "CERTIFICATE_SECRET": arn(stack, "secretsmanager", "certificate"),
        "DNS_ZONE_ID": token(stack, "zone", "zone_id"),
        "LOCK_TABLE": token(stack, "once", "name"),
        "METRICS_NAMESPACE": f"SmtpProxy/{stack.stack}",
    }
    # Every relay polls the one secret that the renewer writes.
    assert told(stack, "relay")["RELAY_CERTIFICATE_SECRETS"] == told(stack, "renewer")["CERTIFICATE_SECRET"]
    assert told(stack, "relay")["RELAY_HOSTNAME"] == told(stack, "renewer")["CERTIFICATE_NAMES"]
    # The API looks for what the renewer leaves where the renewer leaves it.
    assert told(stack, "api")["CERTIFICATE_TABLE"] == told(stack, "renewer")["LOCK_TABLE"]
    assert told(stack, "api")["CERTIFICATE_HOSTS"] == told(stack, "renewer")["CERTIFICATE_NAMES"]


@pytest.mark.requirement("TLS-017")
def test_the_renewer_runs_twice_a_day(stack: Graph) -> None:
    schedule = stack.one("aws:scheduler/schedule:Schedule", f"{prefix(stack)}-renewer")
    assert schedule.inputs == {
        "description": "Renews the certificate of the SMTP endpoint when it is time",
        "scheduleExpression": "rate(12 hours)",
        "flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 60},
        "target": {
            "arn": arn(stack, "ecs", ""),
            "roleArn": arn(stack, "iam", "renewer-schedule"),
            "retryPolicy": {"maximumRetryAttempts": 10, "maximumEventAgeInSeconds": 3600},
            "ecsParameters": {
                "taskDefinitionArn": arn(stack, "ecs", "renewer"),
                "taskCount": 1,
                "launchType": "FARGATE",
                "enableEcsManagedTags": True,
                "propagateTags": "TASK_DEFINITION",
                "networkConfiguration": {
                    "subnets": tasks(stack),
                    "securityGroups": [token(stack, "renewer")],
                    "assignPublicIp": stack.stack == "dev",
                },
            },
        },
    }


def test_the_schema_is_prepared_where_the_database_lets_it(stack: Graph) -> None:
    (run,) = stack.of_type(RUN)
    assert {key: value for key, value in run.inputs.items() if key != "__provider"} == {
        "region": "us-east-1",
        "cluster": arn(stack, "ecs", ""),
        "task_definition": arn(stack, "ecs", "prepare"),
        "log_group": f"/ecs/{prefix(stack)}-prepare",
        "subnets": tasks(stack),
        "security_group": token(stack, "operator"),
        "public_ip": stack.stack == "dev",
    }
