"""A queue that loses nothing: what fails too often waits in a dead-letter queue."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names

DAY = 86_400
LONG_POLL_SECONDS = 20
MAX_MESSAGE_BYTES = 1_048_576
# SQS counts the age of a dead letter from the day it was first sent, so only the maximum leaves time to look at it.
DEAD_LETTER_DAYS = 14


@dataclass(frozen=True, kw_only=True)
class QueueArgs:
    """How long a message may take and stay; without a key SQS encrypts with its own."""

    visibility_seconds: int
    retention_days: int
    max_receives: int
    key_arn: Input[str] | None = None


class Queue(pulumi.ComponentResource):
    """Declares a queue, its dead-letter queue and their policies; who may send or receive is said by IAM roles."""

    url: Output[str]
    arn: Output[str]
    dead_letter_url: Output[str]

    def __init__(self, name: str, args: QueueArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:queues:Queue", name, None, opts)
        child = ResourceOptions(parent=self)

        dead_letters = self._queue(f"{name}-dead", args, DEAD_LETTER_DAYS, child)
        queue = self._queue(
            name,
            args,
            args.retention_days,
            child,
            redrive_policy=Output.json_dumps(
                {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": args.max_receives}
            ),
        )
        aws.sqs.RedriveAllowPolicy(
            name,
            queue_url=dead_letters.url,
            redrive_allow_policy=Output.json_dumps({"redrivePermission": "byQueue", "sourceQueueArns": [queue.arn]}),
            opts=child,
        )

        self.url, self.arn, self.dead_letter_url = queue.url, queue.arn, dead_letters.url
        self.register_outputs({"url": self.url, "arn": self.arn, "dead_letter_url": self.dead_letter_url})

    @staticmethod
    def _queue(
        name: str,
        args: QueueArgs,
        retention_days: int,
        opts: ResourceOptions,
        *,
        redrive_policy: Input[str] | None = None,
    ) -> aws.sqs.Queue:
        queue = aws.sqs.Queue(
            names.fit(name, names.QUEUE_LIMIT),
            visibility_timeout_seconds=args.visibility_seconds,
            message_retention_seconds=retention_days * DAY,
            max_message_size=MAX_MESSAGE_BYTES,
            receive_wait_time_seconds=LONG_POLL_SECONDS,
            redrive_policy=redrive_policy,
            # SQS refuses both at once, even one of them switched off.
            sqs_managed_sse_enabled=True if args.key_arn is None else None,
            kms_master_key_id=args.key_arn,
            opts=opts,
        )
        aws.sqs.QueuePolicy(
            name, queue_url=queue.url, policy=iam.document(iam.tls_only("sqs:*", [queue.arn])), opts=opts
        )
        return queue
