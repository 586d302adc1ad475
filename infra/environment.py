"""What each service and task is told by its environment: names and addresses, never a secret (ECS-010)."""

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import Input, Output

from infra.database import MASTER, NAME, PORT
from infra.settings import Role, ServiceName, Settings

# The authority of RDS's certificates, which the image holds; the system's own list does not know it.
DATABASE_AUTHORITY = "/etc/ssl/certs/rds.pem"
METRICS_SECONDS = "10"
HEALTH_PORT = 8081
WEB_PORT = 8080

Environment = Mapping[str, Input[str]]

# Who services and tasks are in PostgreSQL and in the cache. Those that a person speaks through are one.
USERS: Mapping[Role, str] = {
    "relay": "relay",
    "worker": "worker",
    "api": "web",
    "console": "web",
    "operator": "web",
}


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where everything is that services lean on."""

    database_address: Input[str]
    database_instance: Input[str]
    replica_address: Input[str] | None
    cache_address: Input[str]
    cache_name: Input[str]
    cache_users: Mapping[str, Input[str]]
    delivery_url: Input[str]
    dead_letter_url: Input[str]
    events_url: Input[str]
    mail_bucket: Input[str]
    credential_key: Input[str]
    provider_key: Input[str]
    secrets_key: Input[str]
    certificate: Input[str]
    acme_account: Input[str]
    backup_bucket: Input[str]
    lock_table: Input[str]
    zone_id: Input[str]
    master_secret: Input[str]


def relay(settings: Settings, around: Surroundings) -> Environment:
    """What the relay is told."""
    return {
        **_serves(settings, around, "relay"),
        "CREDENTIAL_KEY_SECRET": around.credential_key,
        "RELAY_HOSTNAME": settings.names.smtp_host,
        "RELAY_CERTIFICATE_SECRETS": around.certificate,
        # The balancer goes on sending connections for a while after it was told not to.
        "RELAY_GRACE_SECONDS": "35",
        "RELAY_DRAIN_SECONDS": "70",
    }


def worker(settings: Settings, around: Surroundings) -> Environment:
    """What the worker is told."""
    share = 1 / settings.services["worker"].max_tasks
    return {
        **_serves(settings, around, "worker"),
        "DEAD_LETTER_QUEUE_URL": around.dead_letter_url,
        "EVENTS_QUEUE_URL": around.events_url,
        "ARCHIVE_BUCKET": around.mail_bucket,
        "PROVIDER_KEY": around.provider_key,
        "WORKER_HOSTNAME": settings.names.smtp_host,
        "WORKER_SHARE": f"{share:.3g}",
        **_reaches(settings),
    }


def api(settings: Settings, around: Surroundings) -> Environment:
    """What the API is told. Not where the relay's certificate is: one text holds it and its key."""
    return {
        **_web(settings, around, "api"),
        # What may be known of it is what its renewer leaves word of.
        "CERTIFICATE_TABLE": around.lock_table,
        "CERTIFICATE_HOSTS": settings.names.smtp_host,
    }


def console(settings: Settings, around: Surroundings) -> Environment:
    """What the console is told."""
    return _web(settings, around, "console")


def renewer(settings: Settings, around: Surroundings) -> Environment:
    """What the task that renews the certificate is told."""
    return {
        "AWS_REGION": settings.region,
        "ACME_DIRECTORY_URL": settings.acme.directory,
        "ACME_EMAIL": settings.acme.email,
        "ACME_ACCOUNT_SECRET": around.acme_account,
        "ACME_CHALLENGE": "dns-01",
        "CERTIFICATE_SECRET": around.certificate,
        "CERTIFICATE_NAMES": settings.names.smtp_host,
        "CERTIFICATE_BACKUP_BUCKET": around.backup_bucket,
        "DNS_ZONE_ID": around.zone_id,
        "LOCK_TABLE": around.lock_table,
        "METRICS_NAMESPACE": metrics_namespace(settings),
    }


def prepare(settings: Settings, around: Surroundings) -> Environment:
    """What the task is told that migrates the database and makes roles and keys."""
    return {
        "AWS_REGION": settings.region,
        "DATABASE_URL": _database_url(around.database_address, MASTER),
        "DATABASE_MASTER_SECRET": around.master_secret,
        "CREDENTIAL_KEY_SECRET": around.credential_key,
        # Without a replica RDS changes the master password itself.
        **({"DATABASE_INSTANCE": around.database_instance} if settings.database.replica else {}),
    }


def operator(settings: Settings, around: Surroundings) -> Environment:
    """What the operator's command is told, run as a task."""
    return {
        **_leans(settings, around, "operator"),
        "QUEUE_URL": around.delivery_url,
        **_changes(around),
        **_reaches(settings),
        "ISSUED_SECRET_PREFIX": issued_secrets(settings),
        "ISSUED_SECRET_KEY": around.secrets_key,
    }


def _serves(settings: Settings, around: Surroundings, service: ServiceName) -> Environment:
    return {
        **_leans(settings, around, service),
        "DATABASE_POOL_MAX": str(settings.services[service].connections),
        "QUEUE_URL": around.delivery_url,
        "BODY_BUCKET": around.mail_bucket,
        "HEALTH_PORT": str(HEALTH_PORT),
        "METRICS_EMF_SECONDS": METRICS_SECONDS,
        "METRICS_NAMESPACE": metrics_namespace(settings),
    }


def _web(settings: Settings, around: Surroundings, service: ServiceName) -> Environment:
    told: Environment = {
        **_serves(settings, around, service),
        **_changes(around),
        **_reaches(settings),
        # The balancer is in the VPC and says who came; nobody else there can connect.
        "WEB_PROXY_NETWORKS": settings.network.cidr,
        "WEB_HOSTNAME": settings.names.web_host,
        # Between the balancer and the task, too, everything is encrypted (QG-5).
        "WEB_TLS": "true",
    }
    if around.replica_address is None:
        return told
    return {**told, "DATABASE_REPLICA_URL": _database_url(around.replica_address, USERS[service])}


def _changes(around: Surroundings) -> Environment:
    return {
        "DEAD_LETTER_QUEUE_URL": around.dead_letter_url,
        "PROVIDER_KEY": around.provider_key,
        "CREDENTIAL_KEY_SECRET": around.credential_key,
    }


def _reaches(settings: Settings) -> Environment:
    """Where providers may be: told to who sends to them, and to who takes their configurations."""
    networks = settings.network.provider_networks
    return {"PROVIDER_ALLOWED_NETWORKS": ",".join(networks)} if networks else {}


def _leans(settings: Settings, around: Surroundings, role: Role) -> Environment:
    return {
        "AWS_REGION": settings.region,
        "DATABASE_URL": _database_url(around.database_address, USERS[role]),
        "DATABASE_IAM_AUTH": "true",
        "CACHE_URL": Output.concat("rediss://", around.cache_address, ":6379"),
        # Serverless caches, too, speak the protocol of clusters.
        "CACHE_CLUSTER": "true",
        "CACHE_IAM_USER": around.cache_users[USERS[role]],
        "CACHE_NAME": around.cache_name,
    }


def issued_secrets(settings: Settings) -> str:
    """What the names of secrets begin with that the operator's command makes; the stack's own are named otherwise."""
    return f"smtp-proxy/{settings.stack}/issued/"


def metrics_namespace(settings: Settings) -> str:
    """The namespace of the stack's own metrics: stacks of one account and region must not share one."""
    return f"SmtpProxy/{settings.stack}"


def _database_url(address: Input[str], user: str) -> Output[str]:
    query = f"?sslmode=verify-full&sslrootcert={DATABASE_AUTHORITY}"
    return Output.concat(f"postgresql://{user}@", address, f":{PORT}/{NAME}{query}")
