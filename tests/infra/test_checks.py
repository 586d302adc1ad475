import pytest

from infra import checks
from infra.config import read
from infra.project import Project
from tests.infra.configurations import errors, one


@pytest.mark.requirement("SCALE-003")
def test_pools_that_would_use_up_the_database() -> None:
    assert errors(workerMaxTasks="11") == one(
        "smtp-proxy:databaseMaxConnections is 400; while a release runs, all pools can open "
        "2 x (relay 20 x 4 + worker 11 x 6 + api 10 x 5 + console 2 x 2), with 11 for PostgreSQL, RDS and operators "
        "411 in all. In the stack's file: lower a service's Connections or MaxTasks, or raise databaseMaxConnections"
    )


@pytest.mark.requirement("SCALE-003")
@pytest.mark.parametrize("stack", ["dev", "prod"])
def test_the_pools_of_both_colours_fit(stack: str) -> None:
    settings = read("smtp-proxy", stack, Project().configuration(stack))
    assert checks.pooled(settings.services) + checks.RESERVED_CONNECTIONS <= settings.database.max_connections


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"relayCpu": "512", "relayMemory": "512"},
            (
                "relayMemory is 512; with 512 CPU units Fargate has 1024 to 4096 MiB in its own steps. "
                "Run: pulumi config set smtp-proxy:relayMemory 1024"
            ),
        ),
        (
            {"apiCpu": "300"},
            (
                "apiCpu is 300; Fargate has 256, 512, 1024, 2048, 4096, 8192, 16384. "
                "Run: pulumi config set smtp-proxy:apiCpu 512"
            ),
        ),
        (
            {"consoleTasks": "3"},
            "consoleTasks is 3; consoleMaxTasks is 2. Run: pulumi config set smtp-proxy:consoleMaxTasks 3",
        ),
        (
            {"databaseMaxConnections": "500"},
            (
                "databaseMaxConnections is 500; the memory of db.t4g.medium is for 450. "
                "Run: pulumi config set smtp-proxy:databaseMaxConnections 450, or choose a larger databaseClass"
            ),
        ),
        (
            {"databaseMaxStorageGb": "20"},
            (
                "databaseMaxStorageGb is 20; databaseStorageGb is 50. "
                "Run: pulumi config set smtp-proxy:databaseMaxStorageGb 50"
            ),
        ),
        (
            {"cidr": "10.40.0.0/24"},
            (
                "cidr is '10.40.0.0/24'; a VPC here is a private network of /16 to /20, which leaves room for three "
                "subnets in each zone. Run: pulumi config set smtp-proxy:cidr 10.40.0.0/16"
            ),
        ),
        (
            {"zones": '["a"]'},
            (
                "zones has 1; load balancers and databases need two or more. "
                "In the stack's file: name more letters, such as [a, b, c]"
            ),
        ),
        (
            {"webNetworks": '["10.0.0.0/8"]'},
            (
                "webNetworks has 10.0.0.0/8; it overlaps smtp-proxy:cidr, which is 10.40.0.0/16, so its machines "
                "cannot be told from those of the stack. Run: pulumi config set smtp-proxy:cidr with another network"
            ),
        ),
        ({"smtpNetworks": "[]"}, "smtpNetworks is empty; nobody could connect. In the stack's file: name a network"),
        (
            {"queueVisibilitySeconds": "60"},
            (
                "queueVisibilitySeconds is 60; a worker holds a delivery for up to 120 seconds before it extends it. "
                "Run: pulumi config set smtp-proxy:queueVisibilitySeconds 120"
            ),
        ),
        (
            {"smtpHost": "smtp.example.org"},
            (
                "smtpHost is 'smtp.example.org'; it has to be in smtp-proxy:zone, which is 'mail.example.com'. "
                "Run: pulumi config set smtp-proxy:smtpHost smtp.mail.example.com"
            ),
        ),
        (
            {"webHost": "smtp.mail.example.com"},
            (
                "smtpHost and webHost are both 'smtp.mail.example.com'; each has a load balancer of its own. "
                "Run: pulumi config set smtp-proxy:webHost console.mail.example.com"
            ),
        ),
        (
            {"inboundDomains": "[]"},
            (
                "appQueues has orders, support; without smtp-proxy:inboundDomains no mail would reach them. "
                "In the stack's file: name a domain to receive for, or remove the queues"
            ),
        ),
        (
            {"accountSingletons": "false"},
            (
                "inboundDomains has in.mail.example.com; an account and region has one active set of receipt rules, "
                "and smtp-proxy:accountSingletons leaves it to another stack. "
                "Run: pulumi config set smtp-proxy:accountSingletons true, or receive in the other stack"
            ),
        ),
        (
            {"prewarm": '[{"service": "console", "schedule": "rate(1 day)", "tasks": 3}]'},
            (
                "prewarm asks for 3 tasks of console; consoleMaxTasks is 2. "
                "In the stack's file: raise one or lower the other"
            ),
        ),
    ],
)
def test_values_that_do_not_go_together(changes: dict[str, str], problem: str) -> None:
    assert errors(**changes) == one(f"smtp-proxy:{problem}")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("protect", "false"),
        ("databaseMultiZone", "false"),
        ("acmeDirectory", "https://acme-staging-v02.api.letsencrypt.org/directory"),
    ],
)
def test_production_is_protected(key: str, value: str) -> None:
    assert errors("prod", **{key: value}) == (
        "stack prod cannot be built, 1 problem(s) in its configuration:\n"
        f"- smtp-proxy:{key} would leave the data or names of production unprotected. "
        f"Run: pulumi config rm smtp-proxy:{key}"
    )
