"""The table."""

from tests.stacks import deploy
from tests.stacks.resources import TABLE, only


def test_the_table() -> None:
    table = {
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "id",
        "attributes": [{"name": "id", "type": "S"}],
        "pointInTimeRecovery": {"enabled": True},
        "serverSideEncryption": {"enabled": True},
    }
    assert only(deploy("dev"), TABLE).inputs == {
        **table,
        "onDemandThroughput": {"maxWriteRequestUnits": 100},
        "deletionProtectionEnabled": False,
    }
    assert only(deploy("prod"), TABLE).inputs == {**table, "deletionProtectionEnabled": True}
