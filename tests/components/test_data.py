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


def test_recovery_of_the_table_can_be_off() -> None:
    inputs = only(deploy(table={"pointInTimeRecovery": False}), TABLE).inputs
    assert inputs["pointInTimeRecovery"] == {"enabled": False}
