"""Tables can be restored, are encrypted, and cannot be deleted by accident in production."""

from collections.abc import Iterator
from typing import Final

from .model import Each, Resource, Rule, is_production, needs, true

_GUIDE: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
_TABLE: Final = ("aws:dynamodb/table:Table",)


def _deletable(table: Resource) -> Iterator[str]:
    if is_production(table.stack) and not true(table.get("deletionProtectionEnabled")):
        yield "no deletion protection, in a stack of production"


RULES: Final = (
    Rule(
        name="table-recovers",
        why="The same id overwrites a record: without point-in-time recovery, one bad client's "
        "writes cannot be undone.",
        reference=f"{_GUIDE}/PointInTimeRecovery.html",
        fix="Set the config's table.pointInTimeRecovery to true, and point_in_time_recovery on the "
        "Table in components/data.py.",
        check=needs(_TABLE, ("pointInTimeRecovery.enabled", true, "no point-in-time recovery")),
    ),
    Rule(
        name="table-encrypted",
        why="CloudTrail records who read the table only if it is encrypted with a KMS key.",
        reference=f"{_GUIDE}/EncryptionAtRest.html",
        fix='Set server_side_encryption={"enabled": True} on the Table in components/data.py.',
        check=needs(
            _TABLE,
            ("serverSideEncryption.enabled", true, "no encryption with a key of the account"),
        ),
    ),
    Rule(
        name="table-protected-in-production",
        why="A deleted table takes its records with it.",
        reference=f"{_GUIDE}/WorkingWithTables.Basics.html",
        fix="Set the config's deletionProtection to true, and deletion_protection_enabled on the "
        "Table in components/data.py.",
        check=Each(_TABLE, _deletable),
    ),
)
