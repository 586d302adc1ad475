"""What services and tasks are made from: cluster, images, roles, and where everything is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import Output, Resource, ResourceOptions

from infra import environment, grants, iam
from infra.alarm_spec import AlarmSpec
from infra.cluster import Cluster, ClusterArgs
from infra.config import ROOMS
from infra.environment import Surroundings
from infra.grants import Resources
from infra.layers.edges import Edges
from infra.layers.ground import Ground
from infra.layers.stores import Stores
from infra.placement import Placement
from infra.registry import Images, ImagesArgs
from infra.roles import ExecutionRole, ExecutionRoleArgs, TaskRole, TaskRoleArgs
from infra.settings import Role, Settings
from infra.task import log_group_name

# Room of a service's or a task's image, and what runs in it.
COMMANDS: Mapping[Role, tuple[str, tuple[str, ...]]] = {
    "relay": ("relay", ("python", "-m", "relay")),
    "worker": ("worker", ("python", "-m", "worker")),
    "api": ("web", ("python", "-m", "web.api")),
    "console": ("web", ("python", "-m", "web.console")),
    "renewer": ("worker", ("python", "-m", "worker.certificates", "renew")),
    "prepare": ("worker", ("python", "-m", "backing", "prepare")),
    "operator": ("worker", ("python", "-m", "backing", "--help")),
}


@dataclass(frozen=True, kw_only=True)
class Yard:
    """What every service and task of the fleet is made from."""

    settings: Settings
    ground: Ground
    edges: Edges
    cluster: Cluster
    images: Images
    execution: ExecutionRole
    roles: Mapping[Role, TaskRole]
    surroundings: Surroundings
    alarms: Sequence[AlarmSpec]
    opts: ResourceOptions

    def name(self, role: Role) -> str:
        """The name of a service or task, and of all that is its own."""
        return f"{self.settings.prefix}-{role}"

    def before(self, role: Role) -> list[Resource]:
        """What a first task needs beside what its definition names: ways out, open ports, and its permissions."""
        return [self.ground.network, self.ground.firewall, self.execution, self.roles[role]]

    def placement(self, group: str) -> Placement:
        """Where tasks of a security group run."""
        network = self.ground.network
        return Placement(
            cluster_arn=self.cluster.arn,
            subnet_ids=network.task_subnet_ids,
            security_group_id=self.ground.firewall.group_ids[group],
            public_ip=network.tasks_have_public_ip,
        )


def surroundings(ground: Ground, stores: Stores) -> Surroundings:
    """Returns where everything is that services lean on."""
    return Surroundings(
        database_address=stores.database.address,
        database_instance=stores.database.identifier,
        replica_address=stores.database.replica_address,
        cache_address=stores.cache.address,
        cache_name=stores.cache.name,
        cache_users=stores.cache.user_names,
        delivery_url=stores.delivery.url,
        dead_letter_url=stores.delivery.dead_letter_url,
        events_url=stores.events.url,
        mail_bucket=stores.mail_bucket.name,
        credential_key=stores.secrets["credential-key"].arn,
        provider_key=ground.secrets_key.arn,
        secrets_key=ground.secrets_key.arn,
        certificate=stores.secrets["certificate"].arn,
        acme_account=stores.secrets["acme-account"].arn,
        backup_bucket=stores.backups.name,
        lock_table=stores.table.name,
        zone_id=ground.zone.zone_id,
        master_secret=stores.database.master_secret_arn,
    )


def resources(settings: Settings, ground: Ground, stores: Stores, cluster: Cluster) -> Resources:
    """Returns the ARNs that roles name."""
    users = stores.cache.user_arns
    return Resources(
        region=settings.region,
        cluster=cluster.arn,
        delivery_queue=stores.delivery.arn,
        dead_letter_queue=stores.delivery.dead_letter_arn,
        events_queue=stores.events.arn,
        bodies_bucket=stores.mail_bucket.arn,
        archive_bucket=stores.mail_bucket.arn,
        backup_bucket=stores.backups.arn,
        certificate_secret=stores.secrets["certificate"].arn,
        credential_key_secret=stores.secrets["credential-key"].arn,
        issued_secrets=iam.beside(cluster.arn, "secretsmanager", f"secret:{environment.issued_secrets(settings)}*"),
        acme_account_secret=stores.secrets["acme-account"].arn,
        master_secret=stores.database.master_secret_arn,
        master_is_ours=settings.database.replica,
        lock_table=stores.table.arn,
        hosted_zone=Output.concat("arn:aws:route53:::hostedzone/", ground.zone.zone_id),
        challenge_names=[f"_acme-challenge.{settings.names.smtp_host}"],
        database=stores.database.arn,
        database_resource_id=stores.database.resource_id,
        replica_resource_id=stores.database.replica_resource_id,
        database_users=environment.USERS,
        cache=stores.cache.arn,
        cache_users={role: users[user] for role, user in environment.USERS.items()},
        provider_key=ground.secrets_key.arn,
        mail_key=stores.mail_key_arn,
        secrets_key=ground.secrets_key.arn,
        ses_identities=list(stores.ses.identity_arns.values()),
        ses_configuration_set=stores.ses.configuration_set_arn,
    )


def made(
    settings: Settings, ground: Ground, stores: Stores, edges: Edges, alarms: Sequence[AlarmSpec], opts: ResourceOptions
) -> Yard:
    """Declares what all of them share, and a role for each."""
    prefix = settings.prefix
    cluster = Cluster(
        prefix,
        ClusterArgs(
            insights=settings.watch.insights,
            exec=settings.release.exec,
            log_days=settings.watch.log_days,
            key_arn=ground.watch_key.arn,
        ),
        opts,
    )
    images = Images(
        prefix,
        ImagesArgs(
            rooms=ROOMS,
            prebuilt=settings.release.images,
            architecture=settings.release.architecture,
            force_delete=not settings.protect,
        ),
        opts,
    )
    execution = ExecutionRole(
        f"{prefix}-execution",
        ExecutionRoleArgs(
            cluster_arn=cluster.arn,
            repository_arns=images.repository_arns,
            tasks=[f"{prefix}-{role}" for role in COMMANDS],
        ),
        opts,
    )
    available = resources(settings, ground, stores, cluster)
    return Yard(
        settings=settings,
        ground=ground,
        edges=edges,
        cluster=cluster,
        images=images,
        execution=execution,
        roles={role: _role(settings, cluster, ground, available, role, opts) for role in COMMANDS},
        surroundings=surroundings(ground, stores),
        alarms=alarms,
        opts=opts,
    )


def _role(
    settings: Settings, cluster: Cluster, ground: Ground, available: Resources, role: Role, opts: ResourceOptions
) -> TaskRole:
    statements = grants.statements(role, available)
    if settings.release.exec:
        typed = iam.beside(cluster.arn, "logs", f"log-group:{log_group_name(f'{settings.prefix}-exec')}")
        statements = [*statements, *grants.shells(typed, ground.watch_key.arn)]
    return TaskRole(f"{settings.prefix}-{role}", TaskRoleArgs(cluster_arn=cluster.arn, statements=statements), opts)
