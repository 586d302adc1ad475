import json
from pathlib import Path

import pytest

from infra.config import read
from infra.project import Project, ProjectError
from infra.reader import ConfigError
from infra.settings import (
    AcmeSettings,
    CacheSettings,
    DatabaseSettings,
    NameSettings,
    NetworkSettings,
    QueueSettings,
    ReleaseSettings,
    ScheduledTasks,
    ServiceName,
    ServiceSettings,
    SesSettings,
    Settings,
    WatchSettings,
)
from tests.infra.configurations import DEFAULTS, errors, one

KEYS = sorted(key for key in DEFAULTS if key.startswith("smtp-proxy:"))


def test_production() -> None:
    def service(name: ServiceName, size: tuple[int, int], tasks: tuple[int, int], connections: int) -> ServiceSettings:
        return ServiceSettings(
            name=name, cpu=size[0], memory=size[1], tasks=tasks[0], max_tasks=tasks[1], connections=connections
        )

    assert read("smtp-proxy", "prod", DEFAULTS) == Settings(
        project="smtp-proxy",
        stack="prod",
        region="us-east-1",
        account="",
        tags={"Project": "smtp-proxy", "Stack": "prod", "ManagedBy": "pulumi"},
        protect=True,
        customer_key=True,
        key_deletion_days=30,
        body_retention_days=30,
        waf=False,
        queue=QueueSettings(visibility_seconds=120, retention_days=14, max_receives=5),
        network=NetworkSettings(
            cidr="10.40.0.0/16",
            zones=("a", "b", "c"),
            egress="nat-single",
            interface_endpoints=(),
            flow_logs=True,
            smtp_networks=("0.0.0.0/0",),
            web_networks=("0.0.0.0/0",),
            provider_networks=(),
        ),
        names=NameSettings(
            zone="mail.example.com",
            zone_id="",
            smtp_host="smtp.mail.example.com",
            web_host="console.mail.example.com",
        ),
        database=DatabaseSettings(
            instance_class="db.t4g.medium",
            storage_gb=50,
            max_storage_gb=200,
            multi_zone=True,
            backup_days=7,
            max_connections=400,
            replica=False,
        ),
        cache=CacheSettings(mode="cluster", node_type="cache.t4g.small", replicas=2),
        services={
            "relay": service("relay", (512, 1024), (2, 20), 4),
            "worker": service("worker", (512, 1024), (1, 10), 6),
            "api": service("api", (256, 512), (2, 10), 5),
            "console": service("console", (256, 512), (2, 2), 2),
        },
        release=ReleaseSettings(
            architecture="arm64", images={}, exec=False, spot_workers=False, prewarm=(), predictive_scaling=False
        ),
        ses=SesSettings(
            domains=("mail.example.com",),
            inbound_domains=("in.mail.example.com",),
            singletons=True,
            app_queues=("orders", "support"),
        ),
        watch=WatchSettings(log_days=30, insights=True, emails=("postmaster@example.com",), monthly_budget=600),
        acme=AcmeSettings(directory="https://acme-v02.api.letsencrypt.org/directory", email=""),
    )


def test_a_known_peak() -> None:
    peak = '[{"service": "relay", "schedule": "cron(45 7 ? * MON-FRI *)", "timezone": "Europe/Berlin", "tasks": 6}]'
    assert read("smtp-proxy", "prod", DEFAULTS | {"smtp-proxy:prewarm": peak}).release.prewarm == (
        ScheduledTasks(service="relay", schedule="cron(45 7 ? * MON-FRI *)", timezone="Europe/Berlin", tasks=6),
    )


def test_tags_of_the_owner_join_ours() -> None:
    settings = read("smtp-proxy", "prod", DEFAULTS | {"smtp-proxy:tags": '{"Owner": "mail@example.com"}'})
    assert settings.tags == {
        "Project": "smtp-proxy",
        "Stack": "prod",
        "ManagedBy": "pulumi",
        "Owner": "mail@example.com",
    }


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("queueVisibilitySeconds", "43201", "'43201'; SQS allows 0 to 43200 seconds. {} 120"),
        ("queueVisibilitySeconds", "-1", "'-1'; SQS allows 0 to 43200 seconds. {} 120"),
        ("queueVisibilitySeconds", "2m", "'2m'; SQS allows 0 to 43200 seconds. {} 120"),
        ("queueVisibilitySeconds", "1.5", "'1.5'; SQS allows 0 to 43200 seconds. {} 120"),
        ("queueRetentionDays", "15", "'15'; SQS keeps a message 1 to 14 days. {} 14"),
        ("queueRetentionDays", "0", "'0'; SQS keeps a message 1 to 14 days. {} 14"),
        ("queueMaxReceives", "1001", "'1001'; SQS allows 1 to 1000. {} 5"),
        ("keyDeletionDays", "6", "'6'; KMS allows 7 to 30 days. {} 30"),
        (
            "bodyRetentionDays",
            "14",
            "'14'; a job can wait 14 days for its body, so 15 to 3650 days are allowed. {} 30",
        ),
        ("protect", "yes", "'yes'; it can be true or false. {} true"),
        ("customerKey", "True", "'True'; it can be true or false. {} true"),
        ("account", "12345", "'12345'; AWS accounts have 12 digits. {} 123456789012"),
        ("region", "us-east1", "'us-east1'; it is not one of the AWS regions of this pulumi-aws. {} us-east-1"),
        ("region", "mars", "'mars'; it is not one of the AWS regions of this pulumi-aws. {} us-east-1"),
        (
            "zone",
            "Mail_1",
            "'Mail_1'; a DNS zone has lower-case labels of letters, digits and hyphens. {} mail.example.com",
        ),
        ("zoneId", "z1", "'z1'; Route 53's ids are Z and capitals or digits. {} Z0123456789ABC"),
        (
            "cidr",
            "10.40.0.1/16",
            "'10.40.0.1/16'; it is no IPv4 network (10.40.0.1/16 has host bits set). {} 10.40.0.0/16",
        ),
        (
            "egress",
            "nat",
            "'nat'; it is not one of nat-single, nat-per-zone, nat-regional, public-ip. {} nat-single",
        ),
        (
            "databaseClass",
            "db.t4g.med",
            "'db.t4g.med'; it is not one of the instance classes this program knows. {} db.t4g.medium",
        ),
        ("databaseStorageGb", "19", "'19'; RDS allows 20 to 65536 GiB of gp3. {} 50"),
        ("databaseBackupDays", "0", "'0'; RDS keeps backups 1 to 35 days. {} 7"),
        ("cacheReplicas", "0", "'0'; a shard has 1 to 5 replicas here; one is needed to survive a node. {} 2"),
        ("cacheNodeType", "t4g.small", "'t4g.small'; node types look like cache.t4g.small. {} cache.t4g.small"),
        ("relayCpu", "128", "'128'; Fargate allows 256 to 16384 units. {} 512"),
        ("workerTasks", "0", "'0'; a service has 1 to 500 tasks here. {} 2"),
        ("architecture", "arm", "'arm'; it is not one of arm64, x86_64. {} arm64"),
        (
            "acmeDirectory",
            "http://acme",
            "'http://acme'; it has to be an https:// URL. {} https://acme.example.com/directory",
        ),
        ("acmeEmail", "me", "'me'; it is no mail address. {} postmaster@example.com"),
        ("monthlyBudget", "0", "'0'; a budget has 1 to 1000000 dollars. {} 600"),
    ],
)
def test_a_value_beyond_a_limit(key: str, value: str, problem: str) -> None:
    remedy = f"Run: pulumi config set smtp-proxy:{key}"
    assert errors(**{key: value}) == one(f"smtp-proxy:{key} is {problem.format(remedy)}")


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (
            '["a"]',
            '["a"]; it has to be an object of texts. In the stack\'s file: write tags as `name: text` lines',
        ),
        ("a=b", "a=b; it has to be an object of texts. In the stack's file: write tags as `name: text` lines"),
        ('{"a": 1}', '{"a": 1}; its values have to be texts. In the stack\'s file: put it in quotes'),
        (
            '{"Stack": "x"}',
            '{"Stack": "x"}; Project, Stack, ManagedBy are set by the stack. In the stack\'s file: remove Stack',
        ),
        (
            '{"aws:x": "y"}',
            (
                '{"aws:x": "y"}; AWS allows keys of 1 to 128 letters, digits, spaces and .:/=+@-_, not "aws:". '
                "In the stack's file: rename it"
            ),
        ),
        (
            '{"x": "<y>"}',
            (
                '{"x": "<y>"}; AWS allows values of up to 256 letters, digits, spaces and .:/=+@-_. '
                "In the stack's file: change the value"
            ),
        ),
        (
            json.dumps({f"t{number}": "" for number in range(48)}),
            "48 tags; AWS allows 50, of which 3 are ours. In the stack's file: remove some",
        ),
    ],
)
def test_a_tag_aws_would_refuse(tags: str, problem: str) -> None:
    assert errors(tags=tags) == one(f"smtp-proxy:tags has {problem}")


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("zones", '["a", "z"]', '"z"; a zone is a letter from a to f. In the stack\'s file: write its entries as in a'),
        ("zones", '["a", "a"]', '"a"; it is there twice. In the stack\'s file: remove one of the two'),
        ("zones", "a", "a; it has to be a list. In the stack's file: write zones as `- value` lines"),
        (
            "smtpNetworks",
            '["10.0.0.1/8"]',
            (
                "10.0.0.1/8; it is no IPv4 network (10.0.0.1/8 has host bits set). In the stack's file: "
                "write networks as in 10.0.0.0/8"
            ),
        ),
        (
            "images",
            '{"relay": "relay:latest"}',
            (
                '{"relay": "relay:latest"}; an image is pinned by its digest. In the stack\'s file: '
                "write REPOSITORY@sha256:DIGEST"
            ),
        ),
        (
            "images",
            '{"api": "x"}',
            '{"api": "x"}; there are images of relay, worker, web. In the stack\'s file: remove api',
        ),
        (
            "appQueues",
            '["Orders"]',
            (
                '"Orders"; an application has up to 40 a-z, 0-9 and hyphens. In the stack\'s file: '
                "write its entries as in orders"
            ),
        ),
        (
            "prewarm",
            '[{"service": "relay", "schedule": "noon", "tasks": 3}]',
            (
                '{"service": "relay", "schedule": "noon", "tasks": 3}; a schedule is cron(...), rate(...) or at(...). '
                "In the stack's file: correct its schedule"
            ),
        ),
        ("prewarm", "[3]", "3; its entries have to be objects. In the stack's file: write `name: value` lines"),
    ],
)
def test_an_entry_beyond_a_limit(key: str, value: str, problem: str) -> None:
    assert errors(**{key: value}) == one(f"smtp-proxy:{key} has {problem}")


def test_a_misspelt_key() -> None:
    assert errors(queueVisibilitySecond="1") == one(
        "smtp-proxy:queueVisibilitySecond is '1'; there is no such key, but there is queueVisibilitySeconds. "
        "Run: pulumi config rm smtp-proxy:queueVisibilitySecond"
    )


def test_a_key_from_nowhere() -> None:
    assert errors(zzz="1") == one("smtp-proxy:zzz is '1'; there is no such key. Run: pulumi config rm smtp-proxy:zzz")


def test_a_key_of_the_provider_that_the_explicit_provider_does_not_read() -> None:
    with pytest.raises(ConfigError) as caught:
        read("smtp-proxy", "dev", DEFAULTS | {"aws:region": "eu-west-1"})
    assert str(caught.value) == one(
        "aws:region is 'eu-west-1'; the stack's provider reads only smtp-proxy keys, such as smtp-proxy:region. "
        "Run: pulumi config rm aws:region"
    )


def test_a_stack_name_no_bucket_could_carry() -> None:
    assert errors(stack="Dev_1") == (
        "stack Dev_1 cannot be built, 1 problem(s) in its configuration:\n"
        "- the stack is named 'Dev_1'; the names of buckets allow 1 to 16 lower-case letters, digits and hyphens, "
        "a letter first. Run: pulumi stack rename NAME"
    )


def test_all_problems_at_once() -> None:
    assert errors(queueMaxReceives="0", protect="no", x="1") == (
        "stack dev cannot be built, 3 problem(s) in its configuration:\n"
        "- smtp-proxy:protect is 'no'; it can be true or false. Run: pulumi config set smtp-proxy:protect true\n"
        "- smtp-proxy:queueMaxReceives is '0'; SQS allows 1 to 1000. "
        "Run: pulumi config set smtp-proxy:queueMaxReceives 5\n"
        "- smtp-proxy:x is '1'; there is no such key. Run: pulumi config rm smtp-proxy:x"
    )


@pytest.mark.parametrize("key", KEYS)
def test_pulumi_yaml_is_the_only_place_of_defaults(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read("smtp-proxy", "dev", {name: value for name, value in DEFAULTS.items() if name != key})
    assert str(caught.value) == one(
        f"{key} is not set and Pulumi.yaml gives no default. Run: pulumi config set {key} VALUE"
    )


def test_the_project_forbids_the_default_provider() -> None:
    assert DEFAULTS["pulumi:disable-default-providers"] == '["aws"]'


def test_a_project_file_that_is_not_yaml(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("a: [")
    with pytest.raises(ProjectError, match=r"Pulumi\.yaml cannot be read: while parsing"):
        _ = Project(tmp_path).name
