"""What must not be lost: backups, deletion protection, dead letters, retention."""

from collections.abc import Iterator
from typing import Any, Final

from infra.policy import kinds
from infra.policy.model import Resource, Rule, World, unless, unless_in
from infra.values import nested

_BACKUP_DAYS: Final = 7
_SECRET_DAYS: Final = 7
_KEY_DAYS: Final = 30
_EXPIRIES: Final = (("expiration", "days"), ("noncurrentVersionExpiration", "noncurrentDays"))
# SQS's longest; a dead letter keeps the age that it had on the first queue.
_DEAD_LETTER_SECONDS: Final = 14 * 86_400


def _is_source(database: Resource) -> bool:
    return not database.get("replicateSourceDb")


def _at_least(value: Any, least: int) -> bool:
    return isinstance(value, (int, float)) and value >= least


def _lets_in(dead: Resource, world: World) -> list[Resource]:
    """The policies that let queues move letters to this one."""
    return world.pointing(kinds.REDRIVE_ALLOW, "queueUrl", dead)


def _loses(queue: Resource, world: World) -> bool:
    """A queue names a dead-letter queue of the stack that lets it in, or is one."""
    if _lets_in(queue, world):
        return False
    for dead in world.pointed(queue, "redrivePolicy", kinds.QUEUE):
        for policy in _lets_in(dead, world):
            text = str(policy.get("redriveAllowPolicy"))
            if "byQueue" in text and queue.urn in policy.references.get("redriveAllowPolicy", ()):
                return False
    return True


def _dead_letters_stay(queue: Resource, world: World) -> bool:
    return not _lets_in(queue, world) or queue.get("messageRetentionSeconds") == _DEAD_LETTER_SECONDS


def _expires(bucket: Resource, world: World) -> Iterator[str]:
    rules = [
        rule
        for configuration in world.pointing(kinds.BUCKET_LIFECYCLE, "bucket", bucket)
        for rule in configuration.items("rules")
        if rule.get("status") == "Enabled"
    ]
    # What is kept on purpose has versions, and they are not kept.
    if not any(nested(rule, *path) for rule in rules for path in _EXPIRIES):
        yield "objects stay for ever"
    if not any(nested(rule, "abortIncompleteMultipartUpload", "daysAfterInitiation") for rule in rules):
        yield "abandoned uploads stay for ever"


RULES: Final = (
    Rule(
        name="protected",
        severity="high",
        kinds=kinds.HOLDS_DATA,
        message="Pulumi would delete it, and what it holds",
        remedy="Declare it under options with protect=True; the setting is `protect`.",
        check=unless(lambda one: one.protect),
        production=True,
    ),
    Rule(
        name="database-deletion-protection",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="RDS would delete the database, or without a last snapshot",
        remedy="Set deletion_protection=True, skip_final_snapshot=False and final_snapshot_identifier.",
        check=unless(
            lambda one: (
                one.get("deletionProtection") is True
                and (not _is_source(one) or one.get("skipFinalSnapshot") is not True)
            )
        ),
        production=True,
    ),
    Rule(
        name="database-backups",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the database has no backups",
        remedy="Set backup_retention_period; the setting is `databaseBackupDays`.",
        check=unless(lambda one: not _is_source(one) or _at_least(one.get("backupRetentionPeriod"), 1)),
    ),
    Rule(
        name="database-backup-days",
        severity="medium",
        kinds=(kinds.DATABASE,),
        message=f"backups of production go back less than {_BACKUP_DAYS} days",
        remedy=f"Set databaseBackupDays to {_BACKUP_DAYS} or more.",
        check=unless(lambda one: not _is_source(one) or _at_least(one.get("backupRetentionPeriod"), _BACKUP_DAYS)),
        production=True,
    ),
    Rule(
        name="database-multi-zone",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the database of production is in one zone",
        remedy="Set databaseMultiZone.",
        check=unless(lambda one: not _is_source(one) or one.get("multiAz") is True),
        production=True,
    ),
    Rule(
        name="database-updates",
        severity="low",
        kinds=(kinds.DATABASE,),
        message="the database does not take minor versions, and with them fixes",
        remedy="Set auto_minor_version_upgrade=True.",
        check=unless(lambda one: one.get("autoMinorVersionUpgrade") is True),
    ),
    Rule(
        name="database-iam",
        severity="medium",
        kinds=(kinds.DATABASE,),
        message="the database knows no IAM authentication, so that tasks would need a password",
        remedy="Set iam_database_authentication_enabled=True.",
        check=unless(lambda one: one.get("iamDatabaseAuthenticationEnabled") is True),
    ),
    Rule(
        name="database-no-password",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the master password is in Pulumi's state, or nobody says whose it is",
        remedy="Set manage_master_user_password=True, or password_wo where RDS cannot manage it.",
        check=unless(
            lambda one: (
                "password" not in one.props
                and (one.get("manageMasterUserPassword") is True or "passwordWo" in one.props or not _is_source(one))
            )
        ),
    ),
    Rule(
        name="cache-survives",
        severity="medium",
        kinds=(kinds.CACHE,),
        message="the cache of production does not survive a node or a zone",
        remedy="Set automatic_failover_enabled=True and multi_az_enabled=True, with a replica.",
        check=unless(lambda one: one.get("automaticFailoverEnabled") is True and one.get("multiAzEnabled") is True),
        production=True,
    ),
    Rule(
        name="table-recovery",
        severity="medium",
        kinds=(kinds.TABLE,),
        message="the table cannot be taken back to an earlier second",
        remedy="Set point_in_time_recovery.enabled=True.",
        check=unless(lambda one: one.get("pointInTimeRecovery", "enabled") is True),
        production=True,
    ),
    Rule(
        name="table-deletion-protection",
        severity="medium",
        kinds=(kinds.TABLE,),
        message="DynamoDB would delete the table",
        remedy="Set deletion_protection_enabled=True.",
        check=unless(lambda one: one.get("deletionProtectionEnabled") is True),
        production=True,
    ),
    Rule(
        name="balancer-deletion-protection",
        severity="medium",
        kinds=(kinds.LOAD_BALANCER,),
        message="AWS would delete the load balancer, and with it its addresses",
        remedy="Set enable_deletion_protection=True.",
        check=unless(lambda one: one.get("enableDeletionProtection") is True),
        production=True,
    ),
    Rule(
        name="nothing-forced",
        severity="high",
        kinds=(kinds.BUCKET, kinds.REPOSITORY, kinds.ZONE),
        message="what it holds is deleted with it",
        remedy="Leave force_destroy and force_delete off in production.",
        check=unless(lambda one: one.get("forceDestroy") is not True and one.get("forceDelete") is not True),
        production=True,
    ),
    Rule(
        name="secret-recovery",
        severity="medium",
        kinds=(kinds.SECRET,),
        message="a deleted secret of production is gone at once",
        remedy=f"Leave recovery_window_in_days at 30, or {_SECRET_DAYS} at least.",
        check=unless(
            lambda one: (
                one.get("recoveryWindowInDays") is None or _at_least(one.get("recoveryWindowInDays"), _SECRET_DAYS)
            )
        ),
        production=True,
    ),
    Rule(
        name="key-deletion-days",
        severity="medium",
        kinds=(kinds.KEY,),
        message=f"the deletion of a key of production can be taken back for less than {_KEY_DAYS} days",
        remedy=f"Set keyDeletionDays to {_KEY_DAYS}.",
        check=unless(lambda one: _at_least(one.get("deletionWindowInDays") or _KEY_DAYS, _KEY_DAYS)),
        production=True,
    ),
    Rule(
        name="bucket-expiry",
        severity="medium",
        kinds=(kinds.BUCKET,),
        message="the bucket keeps what nobody needs",
        remedy="Add a BucketLifecycleConfiguration that expires objects and aborts unfinished uploads.",
        check=_expires,
        whole=True,
    ),
    Rule(
        name="queue-dead-letters",
        severity="high",
        kinds=(kinds.QUEUE,),
        message="a message that fails too often is lost",
        remedy="Name a dead-letter queue in redrive_policy, and the queue in a RedriveAllowPolicy of it.",
        check=unless_in(lambda queue, world: not _loses(queue, world)),
        whole=True,
    ),
    Rule(
        name="dead-letters-stay",
        severity="medium",
        kinds=(kinds.QUEUE,),
        message="dead letters go before somebody looks at them; their age counts from the first queue",
        remedy=f"Set message_retention_seconds={_DEAD_LETTER_SECONDS}.",
        check=unless_in(_dead_letters_stay),
        whole=True,
    ),
)
