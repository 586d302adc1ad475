"""What CloudWatch knows of the delivery queue and SQS itself does not tell: the age of its oldest message."""

from datetime import timedelta
from typing import Any, Final, Protocol

from backing import ids
from backing.sqs import FAULTS
from mail.errors import Unavailable

PERIOD_SECONDS: Final = 60
# SQS reports once a minute, and a minute may be late.
WINDOW: Final = timedelta(minutes=3)
_ID: Final = "oldest"


class MetricData(Protocol):
    """A CloudWatch client, as far as it is needed here."""

    async def get_metric_data(self, **arguments: Any) -> Any:
        """Read metrics."""


class QueueAge:
    """How long the oldest message of a queue has waited.

    The task's role needs `cloudwatch:GetMetricData`, which AWS does not limit to resources.

    Args:
        client: a CloudWatch client.
        queue_url: the queue's URL; its last part is its name.
    """

    def __init__(self, client: MetricData, queue_url: str) -> None:
        self._client = client
        self._queue = queue_url.rstrip("/").rpartition("/")[2]

    async def oldest(self) -> float | None:
        """Seconds that the oldest message has waited; None where CloudWatch has nothing to say.

        Raises:
            Unavailable: CloudWatch did not answer as it should.
        """
        end = ids.now()
        try:
            answer = await self._client.get_metric_data(
                MetricDataQueries=[self._query()], StartTime=end - WINDOW, EndTime=end, ScanBy="TimestampDescending"
            )
            values = [value for result in answer["MetricDataResults"] for value in result["Values"]]
        except FAULTS as fault:
            raise Unavailable(f"CloudWatch GetMetricData: {type(fault).__name__}: {fault}") from fault
        return float(values[0]) if values else None

    def _query(self) -> dict[str, Any]:
        metric = {
            "Namespace": "AWS/SQS",
            "MetricName": "ApproximateAgeOfOldestMessage",
            "Dimensions": [{"Name": "QueueName", "Value": self._queue}],
        }
        statistic = {"Metric": metric, "Period": PERIOD_SECONDS, "Stat": "Maximum"}
        return {"Id": _ID, "MetricStat": statistic, "ReturnData": True}
