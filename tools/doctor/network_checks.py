"""Whether the Region has room for the stack's VPC, and the zones it spans."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any, Final

from settings.errors import fix_command
from settings.schema import Settings
from tools.doctor.account import Account, Denied, Unanswered
from tools.doctor.finding import Finding, ok, problem, warning

COUNT: Final = "VPCs"
OVERLAP: Final = "network overlap"
ZONES: Final = "Availability Zones"
# https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
_VPC_QUOTA: Final = ("vpc", "L-F678F1CE")
_DEFAULT_VPCS: Final = 5


def vpcs(account: Account, settings: Settings) -> Iterator[Finding]:
    """There is room for one more VPC, and none that it may be joined to has its addresses."""
    found = account.ask("ec2", "describe_vpcs", MaxResults=1000)["Vpcs"]
    own = {arn.rpartition("/")[2] for arn in account.own_of("ec2", "vpc/")}
    others = [vpc for vpc in found if vpc["VpcId"] not in own]
    most, source = _quota(account)
    if len(others) >= most and len(others) == len(found):
        yield problem(
            COUNT,
            f"{account.region} has {len(others)} VPCs and may have {most} ({source}): there is no "
            f"room for this stack's.",
            "Delete one, or ask AWS for more: aws service-quotas request-service-quota-increase "
            f"--service-code {_VPC_QUOTA[0]} --quota-code {_VPC_QUOTA[1]} "
            f"--desired-value {most + 5} --region {account.region}",
        )
    else:
        used = "which has this stack's already" if own else f"{len(others)} are used"
        yield ok(COUNT, f"{account.region} may have {most} ({source}), {used}.")
    yield _overlap(settings, others)


def _quota(account: Account) -> tuple[int, str]:
    """How many VPCs the Region may have, and who says so."""
    service, code = _VPC_QUOTA
    try:
        quota = account.ask(
            "service-quotas", "get_service_quota", ServiceCode=service, QuotaCode=code
        )
        return int(quota["Quota"]["Value"]), "its service quota"
    except Denied as denied:
        return _DEFAULT_VPCS, f"AWS's default; reading the quota takes {denied.action}"
    except Unanswered:
        return _DEFAULT_VPCS, "AWS's default"


def _overlap(settings: Settings, others: list[dict[str, Any]]) -> Finding:
    cidr = settings.network.cidr
    shared = sorted(
        f"{vpc['VpcId']} ({block})"
        for vpc in others
        for block in _blocks(vpc)
        if IPv4Network(block).overlaps(cidr)
    )
    if not shared:
        return ok(OVERLAP, f"No other VPC of the Region has addresses of {cidr}.")
    return warning(
        OVERLAP,
        f"{cidr} overlaps with {', '.join(shared)}. That works as long as the two are never joined "
        f"by a peering connection or a transit gateway.",
        fix_command(settings.project, settings.stack, ("network", "cidr"), "10.64.0.0/16")
        + "\ntakes others. A VPC cannot change its addresses later without being replaced.",
    )


def _blocks(vpc: dict[str, Any]) -> list[str]:
    associated = vpc.get("CidrBlockAssociationSet") or [{"CidrBlock": vpc["CidrBlock"]}]
    return [one["CidrBlock"] for one in associated]


def zones(account: Account, settings: Settings) -> Iterator[Finding]:
    """The Region has as many zones as the stack spans."""
    found = account.ask(
        "ec2",
        "describe_availability_zones",
        Filters=[
            {"Name": "state", "Values": ["available"]},
            {"Name": "opt-in-status", "Values": ["opt-in-not-required"]},
        ],
    )["AvailabilityZones"]
    wanted = settings.network.availability_zones
    if len(found) < wanted:
        yield problem(
            ZONES,
            f"The stack spans {wanted}, and {account.region} has {len(found)}.",
            fix_command(
                settings.project,
                settings.stack,
                ("network", "availabilityZones"),
                str(len(found)),
            ),
        )
    else:
        yield ok(ZONES, f"The stack spans {wanted} of the {len(found)} of {account.region}.")
