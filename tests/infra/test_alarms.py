import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.alarms import Alarms, AlarmsArgs, specs
from infra.alarms_page import example
from infra.incidents import Incidents, IncidentsArgs

alarms = Alarms(
    "alarms", AlarmsArgs(specs=specs(example(settings)), prefix=settings.prefix, topic_arn="the-topic"), opts
)
Incidents(
    f"{settings.prefix}",
    IncidentsArgs(
        cluster_name="the-cluster",
        cluster_arn="the-cluster-arn",
        codedeploy_applications=["api-app", "console-app"] if settings.protect else [],
        renewer_family="renewer" if settings.protect else None,
        topic_arn="the-topic",
    ),
    opts,
)
pulumi.export("relay", alarms.service_arns["relay"])
"""
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"


@pytest.fixture(scope="module")
def prod(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("alarms"), BODY)


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("alarms"), BODY, stack="dev")


@pytest.mark.parametrize("stack", ["prod", "dev"])
def test_it_keeps_the_contract(stack: str, request: pytest.FixtureRequest) -> None:
    graph = request.getfixturevalue(stack)
    assert {check.__name__: check(graph) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


def test_an_alarm_in_full(prod: Graph) -> None:
    alarm = prod.one(ALARM, "smtp-proxy-prod-delivery-depth")
    assert alarm.inputs == {
        "name": "smtp-proxy-prod-delivery-depth",
        "alarmDescription": "critical: above 50000 messages. So much mail waits that relays turn new mail away. "
        "Runbook: docs/reference/alarms.md#delivery-depth",
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 50_000,
        "evaluationPeriods": 2,
        "datapointsToAlarm": 2,
        "treatMissingData": "notBreaching",
        "metricQueries": [
            {
                "id": "value",
                "metric": {
                    "namespace": "AWS/SQS",
                    "metricName": "ApproximateNumberOfMessagesVisible",
                    "dimensions": {"QueueName": "delivery"},
                    "stat": "Maximum",
                    "period": 60,
                },
                "returnData": True,
            }
        ],
        "alarmActions": ["the-topic"],
        "okActions": ["the-topic"],
    }


def test_a_query_over_metrics_without_a_name_has_its_period(prod: Graph) -> None:
    alarm = prod.one(ALARM, "smtp-proxy-prod-worker-provider-away")
    assert alarm.inputs["metricQueries"] == [
        {
            "id": "value",
            "expression": 'SELECT MAX(worker_provider_breaker) FROM SCHEMA("SmtpProxy", id, provider, service)',
            "returnData": True,
            "period": 60,
        }
    ]


@pytest.mark.parametrize("stack", ["prod", "dev"])
def test_every_alarm_tells_when_it_begins_and_when_it_ends(stack: str, request: pytest.FixtureRequest) -> None:
    graph = request.getfixturevalue(stack)
    alarms = [*graph.of_type(ALARM), *graph.of_type("aws:cloudwatch/compositeAlarm:CompositeAlarm")]
    assert len(alarms) > 45
    told = (["the-topic"], ["the-topic"], True)
    assert [
        alarm.name
        for alarm in alarms
        if (alarm.inputs["alarmActions"], alarm.inputs["okActions"], alarm.inputs.get("actionsEnabled", True)) != told
    ] == []


def test_one_result_of_each_alarm_is_compared(prod: Graph) -> None:
    returned = {
        alarm.name: [query["id"] for query in alarm.inputs["metricQueries"] if query["returnData"]]
        for alarm in prod.of_type(ALARM)
    }
    assert {name: ids for name, ids in returned.items() if ids != ["value"]} == {}


def test_each_service_has_one_light(prod: Graph) -> None:
    lights = {node.name: node.inputs for node in prod.of_type("aws:cloudwatch/compositeAlarm:CompositeAlarm")}
    assert list(lights) == [f"smtp-proxy-prod-{service}-impaired" for service in ("api", "console", "relay", "worker")]
    api = lights["smtp-proxy-prod-api-impaired"]
    assert api["alarmRule"] == " OR ".join(
        f'ALARM("smtp-proxy-prod-api-{name}")'
        for name in ("tasks-missing", "tasks-at-maximum", "errors", "silent", "pool-exhausted")
    )
    assert prod.exports["relay"].endswith("${smtp-proxy-prod-relay-impaired.arn}")


def patterns(graph: Graph) -> dict[str, object]:
    return {
        node.name: json.loads(node.inputs["eventPattern"])
        for node in graph.of_type("aws:cloudwatch/eventRule:EventRule")
    }


@pytest.mark.requirement("SC-11.2")
@pytest.mark.requirement("SC-5.3")
def test_people_hear_of_releases_taken_back_and_renewals_that_fail(prod: Graph) -> None:
    assert patterns(prod) == {
        "smtp-proxy-prod-release-failed": {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Deployment State Change"],
            "resources": [{"wildcard": "arn:*:ecs:*:*:service/the-cluster/*"}],
            "detail": {"eventName": ["SERVICE_DEPLOYMENT_FAILED"]},
        },
        "smtp-proxy-prod-blue-green-failed": {
            "source": ["aws.codedeploy"],
            "detail-type": ["CodeDeploy Deployment State-change Notification"],
            "detail": {"application": ["api-app", "console-app"], "state": ["FAILURE", "STOP"]},
        },
        "smtp-proxy-prod-renewal-failed": {
            "source": ["aws.ecs"],
            "detail-type": ["ECS Task State Change"],
            "detail": {
                "clusterArn": ["the-cluster-arn"],
                "group": ["family:renewer"],
                "lastStatus": ["STOPPED"],
                "$or": [
                    {"containers": {"exitCode": [{"anything-but": [0, 75]}]}},
                    {"stopCode": ["TaskFailedToStart"]},
                ],
            },
        },
    }


def test_they_hear_in_words(prod: Graph) -> None:
    target = prod.one("aws:cloudwatch/eventTarget:EventTarget", "smtp-proxy-prod-release-failed")
    assert target.inputs == {
        "rule": "${smtp-proxy-prod-release-failed.name}",
        "arn": "the-topic",
        "inputTransformer": {
            "inputPaths": {"what": "$.detail-type", "resource": "$.resources[0]", "at": "$.time"},
            "inputTemplate": (
                '"smtp-proxy-prod release-failed at <at>: <what> of <resource>. A release failed its checks or set off '
                'an alarm, and was taken back. Runbook: docs/reference/alarms.md#deployment-failed"'
            ),
        },
    }


def test_what_they_hear_is_json_as_eventbridge_wants_it(prod: Graph) -> None:
    targets = prod.of_type("aws:cloudwatch/eventTarget:EventTarget")
    assert [type(json.loads(node.inputs["inputTransformer"]["inputTemplate"])) for node in targets] == [str] * 3


def test_a_stack_without_codedeploy_or_renewer_has_no_rules_for_them(dev: Graph) -> None:
    assert list(patterns(dev)) == ["smtp-proxy-dev-release-failed"]
