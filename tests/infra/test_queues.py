import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

ARN = "arn:aws:sqs:${region}:${account}:"
BODY = """
from infra import iam
from infra.queues import Queue, QueueArgs
events = iam.service_may(
    "events.amazonaws.com", ["sqs:SendMessage"], sid="Events", source_arn="arn:aws:events:us-east-1:1:rule/ses"
)
made = Queue(
    "events", QueueArgs(visibility_seconds=60, retention_days=4, max_receives=5, statements=[events]), opts
)
for key in ("url", "arn", "name", "dead_letter_url", "dead_letter_arn", "dead_letter_name"):
    pulumi.export(key, getattr(made, key))
"""


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("queue"), BODY)


@pytest.mark.requirement("FLOW-INFRA-002")
def test_a_queue_has_times_of_its_own(queue: Graph) -> None:
    assert [problem for check in (*contract.ALL, contract.weak) for problem in check(queue)] == []
    times = ("visibilityTimeoutSeconds", "messageRetentionSeconds")
    assert {node.name: [node.inputs[key] for key in times] for node in queue.of_type("aws:sqs/queue:Queue")} == {
        "events": [60, 345_600],
        "events-dead": [60, 1_209_600],
    }
    assert queue.exports == {
        "url": "${events.url}",
        "arn": f"{ARN}${{events.arn}}",
        "name": "${events.name}",
        "dead_letter_url": "${events-dead.url}",
        "dead_letter_arn": f"{ARN}${{events-dead.arn}}",
        "dead_letter_name": "${events-dead.name}",
    }


@pytest.mark.requirement("FLOW-INFRA-002")
def test_a_source_of_events_may_send_to_the_queue_and_not_to_its_dead_letters(queue: Graph) -> None:
    kind = "aws:sqs/queuePolicy:QueuePolicy"
    _, allowed = json.loads(queue.one(kind, "events").inputs["policy"])["Statement"]
    assert allowed == {
        "Sid": "Events",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": ["sqs:SendMessage"],
        "Resource": f"{ARN}${{events.arn}}",
        "Condition": {
            "StringEquals": {"aws:SourceAccount": "${account}"},
            "ArnLike": {"aws:SourceArn": "arn:aws:events:us-east-1:1:rule/ses"},
        },
    }
    (only,) = json.loads(queue.one(kind, "events-dead").inputs["policy"])["Statement"]
    assert only["Effect"] == "Deny"
