"""Whether the account has room for the function and the VPC, and whether alarms reach people."""

import math
from ipaddress import IPv4Network
from typing import Final

from tools.doctor.account import Account, Answer, CallError

# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_UNRESERVED_MINIMUM: Final = 100
"""Executions that AWS keeps for functions without a reservation."""
# https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
_DEFAULT_VPCS: Final = 5


def _increase(account: Account, service: str, quota: str, wanted: int) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value {wanted} --region {account.region}"
    )


def concurrency(account: Account) -> Answer:
    """Check that the reservation fits, or that the account has enough for the stage's rate."""
    limits = account.ask("lambda:GetAccountSettings")["AccountLimit"]
    total, unreserved = (
        int(limits[key]) for key in ("ConcurrentExecutions", "UnreservedConcurrentExecutions")
    )
    function, rate = account.settings.function, account.settings.throttle.rate_limit
    reserved, seconds = function.reserved_concurrency, function.expected_duration_ms / 1000
    if reserved is None:
        # Little's law: executions at once = requests per second x seconds for each.
        needed = math.ceil(rate * seconds)
        together = f"Nothing is reserved, and all functions together run {total:,} executions"
        if total >= needed:
            return Answer("ok", f"{together}: enough for the stage if no other function is busy.")
        return Answer(
            "warning",
            f"{together} at once: about {total / seconds:,.0f} requests per second of "
            f"{function.expected_duration_ms:,} ms. The stage admits {rate:,.10g}; "
            "the rest get 503.",
            f"Ask AWS for more: {_increase(account, 'lambda', 'L-B99A9384', max(1000, needed))}\n"
            "or let the stage admit less: "
            + account.fix("throttle", "rateLimit", value=f"{total / seconds:.10g}"),
        )
    for arn in account.own_ids("lambda", ":function:").values():
        # The deployed function's own reservation is free for the update.
        answer = account.ask("lambda:GetFunctionConcurrency", FunctionName=arn)
        unreserved += int(answer.get("ReservedConcurrentExecutions", 0))
    free = unreserved - _UNRESERVED_MINIMUM
    unused = (
        f"{unreserved:,} of the account's {total:,} are unreserved, and AWS keeps "
        f"{_UNRESERVED_MINIMUM} of them so"
    )
    if reserved <= free:
        return Answer("ok", f"{reserved:,} executions can be reserved: {unused}.")
    new = ", as in new accounts" if total <= _UNRESERVED_MINIMUM else ""
    wanted = max(1000, total + reserved - free)
    value = str(free) if free >= 1 else "none"
    return Answer(
        "problem",
        f"Stack {account.settings.stack} reserves {reserved:,} executions, and {max(free, 0):,} "
        f"can be: {unused}{new}. pulumi up would fail at the function.",
        f"{account.fix('function', 'reservedConcurrency', value=value)}\n"
        f"or ask AWS for more: {_increase(account, 'lambda', 'L-B99A9384', wanted)}",
    )


def vpcs(account: Account) -> Answer:
    """Check that there is room for one more VPC."""
    found = len(account.ask_all("ec2:DescribeVpcs", "Vpcs"))
    try:
        quota = account.ask(
            "servicequotas:GetServiceQuota", ServiceCode="vpc", QuotaCode="L-F678F1CE"
        )
        most, source = int(quota["Quota"]["Value"]), "its service quota"
    except CallError as error:
        most, source = _DEFAULT_VPCS, f"AWS's default; the quota was not read: {error}"
    limit = f"{account.region} may have {most} ({source})"
    if account.own_ids("ec2", ":vpc/"):
        return Answer("ok", f"{limit}, and has this stack's already.")
    if found < most:
        return Answer("ok", f"{limit}, and has {found}.")
    return Answer(
        "problem",
        f"{limit}, and has {found}: there is no room for this stack's.",
        f"Delete one, or ask AWS for more: {_increase(account, 'vpc', 'L-F678F1CE', most + 5)}",
    )


def overlap(account: Account) -> Answer:
    """Check that no other VPC of the Region, which may be joined to this one, has its addresses."""
    cidr, own = account.settings.network.cidr, account.own_ids("ec2", ":vpc/")
    shared = sorted(
        f"{vpc['VpcId']} ({block['CidrBlock']})"
        for vpc in account.ask_all("ec2:DescribeVpcs", "Vpcs")
        for block in vpc.get("CidrBlockAssociationSet") or [vpc]
        if vpc["VpcId"] not in own and IPv4Network(block["CidrBlock"]).overlaps(cidr)
    )
    if not shared:
        return Answer("ok", f"No other VPC of the Region has addresses of {cidr}.")
    return Answer(
        "warning",
        f"{cidr} overlaps with {', '.join(shared)}. That works until a peering connection or a "
        "transit gateway joins the two.",
        account.fix("network", "cidr", value="10.64.0.0/16")
        + "\nuses other addresses. Changing them later replaces the VPC.",
    )


def zones(account: Account) -> Answer:
    """Check that the Region has as many zones as the stack spans."""
    filters = {"state": "available", "opt-in-status": "opt-in-not-required"}
    answer = account.ask(
        "ec2:DescribeAvailabilityZones",
        Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()],
    )
    there, wanted = len(answer["AvailabilityZones"]), account.settings.network.availability_zones
    spans = f"The stack spans {wanted}, and {account.region} has {there}."
    if there >= wanted:
        return Answer("ok", spans)
    fix = account.fix("network", "availabilityZones", value=str(there))
    return Answer("problem", spans, fix)


def recipients(account: Account) -> Answer:
    """Check that alarms reach people who have confirmed their address."""
    call, topics = "sns:ListSubscriptionsByTopic", account.own_ids("sns", ":").values()
    confirmed = {
        one["Endpoint"]: one["SubscriptionArn"] != "PendingConfirmation"
        for topic in topics
        for one in account.ask_all(call, "Subscriptions", TopicArn=topic)
    }
    wanted = account.settings.monitoring.alarm_emails
    if not (wanted or confirmed):
        return Answer(
            "warning",
            "No address is configured, and nothing else is subscribed: alarms notify no one.",
            account.fix("monitoring", "alarmEmails", 0, value="you@example.com"),
        )
    if pending := sorted(address for address in confirmed if not confirmed[address]):
        return Answer(
            "warning",
            f"{', '.join(pending)} did not confirm, and gets no alarms.",
            "Follow the link in the mail from AWS Notifications; it is valid for three days. "
            "Subscribing the address again sends a new one: aws sns subscribe --protocol email "
            f"--topic-arn {next(iter(topics))} --notification-endpoint {pending[0]}",
        )
    if new := sorted(set(wanted) - confirmed.keys()):
        return Answer("ok", f"pulumi up will send {', '.join(new)} a link to confirm.")
    return Answer("ok", f"{len(confirmed)} confirmed.")
