from pathlib import Path

import pytest

from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.tables import Table, TableArgs
key = "arn:aws:kms:us-east-1:1:key/data" if settings.protect else None
made = Table("smtp-proxy-prod-jobs", TableArgs(protect=settings.protect, key_arn=key), opts)
pulumi.export("name", made.name)
pulumi.export("arn", made.arn)
"""


@pytest.mark.requirement("FLOW-INFRA-003")
@pytest.mark.parametrize("protect", [True, False])
def test_the_table(tmp_path: Path, *, protect: bool) -> None:
    graph = declare(tmp_path, BODY, {"protect": protect}, "dev")
    assert [problem for check in contract.ALL for problem in check(graph)] == []
    encryption = {"enabled": True, "kmsKeyArn": "arn:aws:kms:us-east-1:1:key/data"}
    assert graph.one("aws:dynamodb/table:Table", "smtp-proxy-prod-jobs").inputs == {
        "attributes": [{"name": "id", "type": "S"}],
        "hashKey": "id",
        "billingMode": "PAY_PER_REQUEST",
        "ttl": {"attributeName": "expires", "enabled": True},
        "pointInTimeRecovery": {"enabled": True},
        "serverSideEncryption": encryption if protect else {"enabled": False},
        "deletionProtectionEnabled": protect,
    }
    assert graph.exports == {
        "name": "${smtp-proxy-prod-jobs.name}",
        "arn": "arn:aws:dynamodb:${region}:${account}:${smtp-proxy-prod-jobs.arn}",
    }
