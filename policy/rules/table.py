"""Tables can be brought back, are encrypted, and in production cannot be deleted by accident."""

from collections.abc import Iterator
from typing import Final

from .model import Resource, ResourceRule, is_production, true

_GUIDE: Final = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
_TABLE: Final = frozenset({"aws:dynamodb/table:Table"})


def _gone_for_good(table: Resource) -> Iterator[str]:
    if not true(table.get("pointInTimeRecovery", "enabled")):
        yield "no point-in-time recovery"


TABLE_RECOVERS: Final = ResourceRule(
    name="table-recovers",
    why="The same id overwrites a record: without point-in-time recovery, one bad client's writes "
    "cannot be undone.",
    reference=f"{_GUIDE}/PointInTimeRecovery.html",
    fix="Set the config's table.pointInTimeRecovery to true, and point_in_time_recovery on the "
    "Table in Data of components/data.py.",
    types=_TABLE,
    check=_gone_for_good,
)


def _unencrypted(table: Resource) -> Iterator[str]:
    if not true(table.get("serverSideEncryption", "enabled")):
        yield "no encryption with a key of the account"


TABLE_ENCRYPTED: Final = ResourceRule(
    name="table-encrypted",
    why="Only with a KMS key does CloudTrail record who used it to read the table.",
    reference=f"{_GUIDE}/EncryptionAtRest.html",
    fix='Set server_side_encryption={"enabled": True} on the Table in Data of components/data.py.',
    types=_TABLE,
    check=_unencrypted,
)


def _deletable(table: Resource) -> Iterator[str]:
    if is_production(table.stack) and not true(table.get("deletionProtectionEnabled")):
        yield "no deletion protection, in a stack of production"


TABLE_PROTECTED: Final = ResourceRule(
    name="table-protected-in-production",
    why="A deleted table takes its records with it, and its name may be anybody's next moment.",
    reference=f"{_GUIDE}/WorkingWithTables.Basics.html",
    fix="Set the config's table.deletionProtection to true, and deletion_protection_enabled on the "
    "Table in Data of components/data.py.",
    types=_TABLE,
    check=_deletable,
)

RULES: Final = (TABLE_RECOVERS, TABLE_ENCRYPTED, TABLE_PROTECTED)
