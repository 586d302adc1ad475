"""What keeps data: database, cache, tables, queues, topics, buckets, images, keys, secrets."""

from collections.abc import Iterator

from infra.graph import Node
from infra.plan.cost.facts import GB, MILLION, Charge, Facts
from infra.values import nested


def database(node: Node, facts: Facts) -> Iterator[Charge]:
    """An instance, or a replica; two zones cost twice, and at full scale the storage has grown to its limit."""
    copies = 2 if node.inputs.get("multiAz") is True else 1
    yield Charge(f"database.{node.inputs.get('instanceClass')}", copies * facts.hours)
    source = facts.referred(node, "replicateSourceDb", node.type)
    sizes = (source[0] if source else node).inputs
    first = float(sizes.get("allocatedStorage", 0))
    storage = max(first, float(sizes.get("maxAllocatedStorage") or first)) if facts.load == "full" else first
    yield Charge("database.storage", copies * storage)
    days = float(node.inputs.get("backupRetentionPeriod") or 0)
    backup = storage * (facts.assumed("backup_share") + facts.assumed("backup_day_share") * days) if days else 0.0
    yield Charge("database.backup", max(0.0, backup - storage))
    if not source:
        # Tasks are spread over all zones, the database answers from one.
        elsewhere = (facts.zones - 1) / facts.zones
        yield Charge("network.cross-zone", facts.per_mail("database_bytes") / GB * elsewhere)


def cache_group(node: Node, facts: Facts) -> Iterator[Charge]:
    """The nodes of a replication group, and its snapshots."""
    shards = float(node.inputs.get("numNodeGroups") or 1)
    replicas = node.inputs.get("replicasPerNodeGroup")
    nodes = float(node.inputs.get("numCacheClusters") or 1) if replicas is None else shards * (1 + float(replicas))
    yield Charge(f"cache.{node.inputs.get('nodeType')}", nodes * facts.hours)
    yield Charge("cache.snapshot", facts.assumed("cache_gb") * float(node.inputs.get("snapshotRetentionLimit") or 0))


def cache_serverless(_node: Node, facts: Facts) -> Iterator[Charge]:
    """A serverless cache: what it holds, at least 0.1 GB, and what it does."""
    yield Charge("cache.serverless-storage", facts.assumed("cache_gb") * facts.hours)
    yield Charge("cache.serverless-units", facts.per_mail("cache_units") / MILLION)


def table(node: Node, facts: Facts) -> Iterator[Charge]:
    """A table paid by request; the first of them carries the mails."""
    share = facts.share(node, "dispatch|idempoten|correlation")
    yield Charge("table.writes", facts.per_mail("table_writes") * share / MILLION)
    yield Charge("table.reads", facts.per_mail("table_reads") * share / MILLION)
    yield Charge("table.storage", facts.assumed("table_gb"))
    if nested(node.inputs, "pointInTimeRecovery", "enabled") is True:
        yield Charge("table.recovery", facts.assumed("table_gb"))


def queue(node: Node, facts: Facts) -> Iterator[Charge]:
    """The queue's part of the requests that mails take."""
    yield Charge("queue.requests", facts.per_mail("queue_requests") * facts.share(node, "delivery$") / MILLION)


def topic(node: Node, facts: Facts) -> Iterator[Charge]:
    """The topic's part of the events of mails; what alarms publish is next to nothing."""
    share = facts.share(node, "event|feedback|ses")
    yield Charge("topic.publishes", facts.per_mail("publishes") * share / MILLION)


def bucket(node: Node, facts: Facts) -> Iterator[Charge]:
    """The bucket's part of what mails leave, and requests."""
    share = facts.share(node, "bodies")
    yield Charge("bucket.storage", facts.assumed("bucket_fixed_gb") + facts.per_mail("bucket_bytes") / GB * share)
    yield Charge("bucket.puts", facts.per_mail("bucket_puts") * share / MILLION)
    yield Charge("bucket.gets", facts.per_mail("bucket_gets") * share / MILLION)


def images(_node: Node, facts: Facts) -> Iterator[Charge]:
    """A repository of images."""
    yield Charge("images.storage", facts.assumed("image_gb"))


def key(node: Node, facts: Facts) -> Iterator[Charge]:
    """A key, and its part of the requests of mails."""
    yield Charge("key.month", 1)
    yield Charge("key.requests", facts.per_mail("key_requests") * facts.share(node, "mail$") / MILLION)


def secret(_node: Node, _facts: Facts) -> Iterator[Charge]:
    """A secret; tasks pay for reading it."""
    yield Charge("secret.month", 1)
