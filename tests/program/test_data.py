"""The table."""

import pytest

from tests.program.conftest import (
    STACKS,
    TABLE,
    Deploy,
    only,
)


def test_the_table(deploy: Deploy) -> None:
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


def test_recovery_of_the_table_can_be_off(deploy: Deploy) -> None:
    inputs = only(deploy(table={"pointInTimeRecovery": False}), TABLE).inputs
    assert inputs["pointInTimeRecovery"] == {"enabled": False}


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("protection", [True, False])
def test_only_a_stack_with_deletion_protection_is_protected(
    deploy: Deploy, stack: str, protection: bool
) -> None:
    program = deploy(stack, table={"deletionProtection": protection})
    protected = {resource.type for resource in program.resources.items if resource.protect}
    what_cannot_be_had_back = {
        *("aws:dynamodb/table:Table", "aws:ec2/vpc:Vpc", "aws:apigateway/stage:Stage"),
    }
    assert protected == (what_cannot_be_had_back if protection else set())
