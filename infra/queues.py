"""A queue that loses nothing: what fails too often waits in a dead-letter queue."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.iam import StatementFor

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
    statements: Sequence[StatementFor] = ()
    """Who else may send, such as `iam.service_may("events.amazonaws.com", ["sqs:SendMessage"], ...)`."""


class Queue(pulumi.ComponentResource):
    """Declares a queue, its dead-letter queue and their policies; who may send or receive is said by IAM roles."""

    url: Output[str]
    arn: Output[str]
    name: Output[str]
    dead_letter_url: Output[str]
    dead_letter_arn: Output[str]
    dead_letter_name: Output[str]

    def __init__(self, name: str, args: QueueArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:queues:Queue", name, None, opts)
        child = ResourceOptions(parent=self)

        dead_letters = self._queue(f"{name}-dead", args, DEAD_LETTER_DAYS, child)
        self._guard(f"{name}-dead", dead_letters, (), child)
        queue = self._queue(
            name,
            args,
            args.retention_days,
            child,
            redrive_policy=Output.json_dumps(
                {"deadLetterTargetArn": dead_letters.arn, "maxReceiveCount": args.max_receives}
            ),
        )
        self._guard(name, queue, args.statements, child)
        aws.sqs.RedriveAllowPolicy(
            name,
            queue_url=dead_letters.url,
            redrive_allow_policy=Output.json_dumps({"redrivePermission": "byQueue", "sourceQueueArns": [queue.arn]}),
            opts=child,
        )

        self.url, self.arn, self.name = queue.url, queue.arn, queue.name
        self.dead_letter_url, self.dead_letter_arn = dead_letters.url, dead_letters.arn
        self.dead_letter_name = dead_letters.name
        self.register_outputs({key: getattr(self, key) for key in Queue.__annotations__})

    @staticmethod
    def _queue(
        name: str,
        args: QueueArgs,
        retention_days: int,
        opts: ResourceOptions,
        *,
        redrive_policy: Input[str] | None = None,
    ) -> aws.sqs.Queue:
        return aws.sqs.Queue(
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

    @staticmethod
    def _guard(name: str, queue: aws.sqs.Queue, statements: Sequence[StatementFor], opts: ResourceOptions) -> None:
        further = (statement(queue.arn) for statement in statements)
        policy = iam.document(iam.tls_only("sqs:*", [queue.arn]), *further)
        aws.sqs.QueuePolicy(name, queue_url=queue.url, policy=policy, opts=opts)
