import json
from pathlib import Path

import pytest

from infra.config import QueueSettings, Settings, read
from infra.project import Project, ProjectError
from infra.reader import ConfigError

DEFAULTS = Project().configuration("prod")
KEYS = sorted(key for key in DEFAULTS if key.startswith("smtp-proxy:"))


def errors(stack: str = "dev", **changes: str) -> str:
    values = DEFAULTS | {f"smtp-proxy:{key}": value for key, value in changes.items()}
    with pytest.raises(ConfigError) as caught:
        read("smtp-proxy", stack, values)
    return str(caught.value)


def one(problem: str) -> str:
    return f"stack dev cannot be built, 1 problem(s) in its configuration:\n- {problem}"


def test_production() -> None:
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
        queue=QueueSettings(visibility_seconds=120, retention_days=14, max_receives=5),
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
