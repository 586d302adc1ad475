"""The age of the oldest queued message, as CloudWatch tells it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backing.aws import Aws
from backing.cloudwatch import QueueAge
from mail.errors import Unavailable
from tests.conftest import REGION

pytestmark = pytest.mark.anyio


class CloudWatch:
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: dict[str, Any] = {}

    async def get_metric_data(self, **arguments: Any) -> Any:
        self.asked = arguments
        if isinstance(self.answer, Exception):
            raise self.answer
        return {"MetricDataResults": [{"Id": "oldest", "Values": self.answer}]}


async def test_the_latest_value_counts() -> None:
    cloudwatch = CloudWatch([901.0, 12.0])
    assert await QueueAge(cloudwatch, "https://sqs.eu-central-1.amazonaws.com/123456789012/jobs").oldest() == 901
    (query,) = cloudwatch.asked["MetricDataQueries"]
    assert query["MetricStat"] == {
        "Metric": {
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateAgeOfOldestMessage",
            "Dimensions": [{"Name": "QueueName", "Value": "jobs"}],
        },
        "Period": 60,
        "Stat": "Maximum",
    }
    assert cloudwatch.asked["ScanBy"] == "TimestampDescending"
    assert (cloudwatch.asked["EndTime"] - cloudwatch.asked["StartTime"]).total_seconds() == 180
    assert abs((datetime.now(UTC) - cloudwatch.asked["EndTime"]).total_seconds()) < 60


async def test_no_data_is_no_statement() -> None:
    assert await QueueAge(CloudWatch([]), "https://sqs.invalid/jobs").oldest() is None


async def test_a_refusal_is_unavailable() -> None:
    denied = ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetMetricData")
    with pytest.raises(Unavailable, match="CloudWatch GetMetricData: ClientError"):
        await QueueAge(CloudWatch(denied), "https://sqs.invalid/jobs").oldest()


async def test_the_client_speaks_to_cloudwatch(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    async with Aws(REGION).cloudwatch() as client:
        lately = datetime.now(UTC) - timedelta(seconds=30)
        dimensions = [{"Name": "QueueName", "Value": "aged"}]
        datum = {"MetricName": "ApproximateAgeOfOldestMessage", "Dimensions": dimensions, "Timestamp": lately}
        assert await QueueAge(client, "https://sqs.invalid/aged").oldest() is None
        await client.put_metric_data(Namespace="AWS/SQS", MetricData=[datum | {"Value": 700.0}])
        assert await QueueAge(client, "https://sqs.invalid/aged").oldest() == 700
