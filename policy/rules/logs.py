"""Logs end."""

from collections.abc import Iterator
from typing import Final

from .model import Resource, ResourceRule, positive


def _kept_for_ever(group: Resource) -> Iterator[str]:
    if not positive(group.get("retentionInDays")):
        yield "no retention: it keeps everything for ever"


LOG_GROUPS_HAVE_RETENTION: Final = ResourceRule(
    name="log-groups-have-retention",
    why="A log group without retention keeps callers' addresses, and is paid for, for ever.",
    reference="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/"
    "Working-with-log-groups-and-streams.html",
    fix="Set retention_in_days on the LogGroup, from the config's monitoring.logRetentionDays; the "
    "groups are in components/compute.py, components/network.py and "
    "components/edge_protection/__init__.py.",
    types=frozenset({"aws:cloudwatch/logGroup:LogGroup"}),
    check=_kept_for_ever,
)

RULES: Final = (LOG_GROUPS_HAVE_RETENTION,)
