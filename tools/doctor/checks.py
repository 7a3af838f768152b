"""The checks: whether AWS accepts the stack, has room for it, and whether alarms reach people."""

import math
from ipaddress import IPv4Network
from typing import Any, Final, Literal, NamedTuple

from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU, WCU_BEFORE_EXTRA_COST
from throttling.review import highest
from tools.aws import Account, CallError

_QUOTAS_PAGE: Final = "https://console.aws.amazon.com/servicequotas/home/services/apigateway/quotas"
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_UNRESERVED_MINIMUM: Final = 100
"""Executions that AWS keeps for functions without a reservation."""
# https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
_DEFAULT_VPCS: Final = 5


class Answer(NamedTuple):
    """What a check found, and what to do about it."""

    severity: Literal["ok", "warning", "problem"]
    """A problem makes the update fail, or what it creates not work."""
    meaning: str
    action: str = ""
    """Words or commands."""


def deployed(account: Account) -> Answer:
    """Count what is there already, which the other checks do not hold against the stack."""
    count = len(account.ask_own())
    return Answer("ok", f"Resources of the stack: {count:,}." if count else "Nothing of the stack.")


def concurrency(account: Account) -> Answer:
    """Check that the reservation fits, or that the account has enough for the stage's rate."""
    limits = account.ask("lambda:GetAccountSettings")["AccountLimit"]
    total, unreserved = (
        int(limits[key]) for key in ("ConcurrentExecutions", "UnreservedConcurrentExecutions")
    )
    function = account.settings.function
    (path, rate), _ = highest(account.settings.limits())
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
            "or let the stage admit less: " + account.fix(*path, value=f"{total / seconds:.10g}"),
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


def throttle(account: Account) -> Answer:
    """Check that the account admits as much as the stage and its methods."""
    shared = account.ask("apigateway:GetAccount")["throttleSettings"]
    rate, burst = float(shared["rateLimit"]), int(shared["burstLimit"])
    wanted = highest(account.settings.limits())
    fixes = [
        account.fix(*path, value=f"{allowed:.10g}")
        for (path, value), allowed in zip(wanted, (rate, burst), strict=True)
        if value > allowed
    ]
    limit = (
        f"All APIs of the account in {account.region} share {rate:,.10g} requests per second with "
        f"a burst of {burst:,}"
    )
    (_, promised), (_, at_once) = wanted
    if not fixes:
        return Answer("ok", f"{limit}; this stage may use {promised / rate:.0%} of it.")
    return Answer(
        "warning",
        f"{limit}, and the stage promises {promised:,.10g} with {at_once:,}: the account refuses "
        "before the stage does.",
        "\n".join([*fixes, f"or ask AWS for more: {_QUOTAS_PAGE}"]),
    )


def usage_plans(account: Account) -> Answer:
    """Check that there is room for the stack's usage plans."""
    wanted = len(account.settings.usage_plans)
    there = account.ask_all("apigateway:GetUsagePlans", "items")
    own = account.own_ids("apigateway", "/usageplans/")
    return _room(wanted, there, own, MAX_USAGE_PLANS, f"Ask AWS for more: {_QUOTAS_PAGE}")


def api_keys(account: Account) -> Answer:
    """Check that there is room for the stack's API keys."""
    wanted = sum(1 for plan in account.settings.usage_plans.values() for _ in plan.api_keys())
    there = account.ask_all("apigateway:GetApiKeys", "items")
    own = account.own_ids("apigateway", "/apikeys/")
    return _room(wanted, there, own, MAX_API_KEYS, "AWS does not raise this limit.")


def _room(
    wanted: int, there: list[dict[str, Any]], own: dict[str, str], most: int, more: str
) -> Answer:
    others = sum(item["id"] not in own for item in there)
    if others + wanted > most:
        return Answer(
            "problem",
            f"This stack needs {wanted:,}, others of the account have {others:,}, and there may be "
            f"{most:,} in all.",
            f"Delete those that are not used any more. {more}",
        )
    return Answer("ok", f"{wanted:,} needed; others have {others:,} of {most:,}.")


def logging_role(account: Account) -> Answer:
    """Check which stack manages the logging role, which all APIs of the account share."""
    settings = account.settings
    name, owner = _logging_role_and_owner(account)
    manage = settings.manage_api_gateway_logging
    switch = account.fix("manageApiGatewayLogging", value="false" if manage else "true")
    if not name and not manage:
        return Answer(
            "problem",
            "The account has none, and without it API Gateway refuses a stage that logs.",
            f"{switch}\nlets this stack create it.",
        )
    if not name:
        return Answer("ok", "The account has none yet; this stack creates it.")
    if owner == f"stack {settings.stack} of project {settings.project}":
        whose = "and this stack manages it" if manage else "which this stack made"
        return Answer("ok", f"The account uses {name}, {whose}.")
    if not manage:
        return Answer("ok", f"The account uses {name} of {owner}; this stack leaves it alone.")
    return Answer(
        "warning",
        f"The account uses {name} of {owner}. pulumi up would replace it for all APIs of the "
        f"account in {account.region}.",
        f"{switch}\nleaves it alone: only one stack of an account and Region can manage it.",
    )


def _logging_role_and_owner(account: Account) -> tuple[str, str]:
    """Return name and owner of the account's logging role; no name when there is no such role."""
    arn = account.ask("apigateway:GetAccount").get("cloudwatchRoleArn", "")
    name = arn.rpartition("/")[2]
    if not name:
        return "", ""
    try:
        role = account.ask("iam:GetRole", RoleName=name)["Role"]
    except CallError as error:
        if "NoSuchEntity" not in str(error):
            raise
        return "", ""  # the account still names a role that is deleted
    tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
    if "stack" not in tags or "project" not in tags:
        return name, "another owner"
    return name, f"stack {tags['stack']} of project {tags['project']}"


def web_acl_capacity(account: Account) -> Answer:
    """Check that AWS has the managed rule groups, and that all rules fit into one web ACL."""
    waf = account.settings.waf
    if not waf.enabled:
        return Answer("ok", "The stack has no web ACL.")
    used, remove = waf.wcu, ""
    for place, group in enumerate(waf.managed_rule_groups):
        remove = account.fix("waf", "managedRuleGroups", place, value=None)
        names = {"VendorName": group.vendor_name, "Name": group.name}
        try:
            found = account.ask("wafv2:DescribeManagedRuleGroup", Scope="REGIONAL", **names)
        except CallError as error:
            if "WAFNonexistentItem" not in str(error) and "WAFInvalidResource" not in str(error):
                raise
            return Answer(
                "problem",
                f"AWS does not know the managed rule group {group.name} of {group.vendor_name}.",
                f"{remove}\nor list those that it knows: aws wafv2 "
                f"list-available-managed-rule-groups --scope REGIONAL --region {account.region}",
            )
        used += int(found["Capacity"]) - group.wcu
    if used <= WCU_BEFORE_EXTRA_COST:
        return Answer("ok", f"Its rules use {used:,} of {MAX_WCU:,} capacity units.")
    if used > MAX_WCU:
        return Answer(
            "problem",
            f"Its rules use {used:,} capacity units, and a web ACL may have {MAX_WCU:,}.",
            f"Remove a managed rule group: {remove}",
        )
    return Answer(
        "warning",
        f"Its rules use {used:,} capacity units; above {WCU_BEFORE_EXTRA_COST:,}, each request "
        "costs more.",
        f"Accept the cost, or remove a managed rule group: {remove}",
    )


def web_acl_association(account: Account) -> Answer:
    """Check that no other web ACL, such as Firewall Manager's, is in front of the stage."""
    settings = account.settings
    if not settings.waf.enabled:
        return Answer("ok", "The stack has no web ACL.")
    for api in account.ask_all("apigateway:GetRestApis", "items"):
        if api["name"] != settings.label:
            continue
        stage = f"/restapis/{api['id']}/stages/{settings.stage_name}"
        arn = f"arn:aws:apigateway:{account.region}::{stage}"
        try:
            acl = account.ask("wafv2:GetWebACLForResource", ResourceArn=arn).get("WebACL")
        except CallError as error:
            if "WAFNonexistentItem" in str(error):  # the API has no such stage
                continue
            raise
        if acl and acl["ARN"] not in account.own:
            return Answer(
                "warning",
                f"The stage has the web ACL {acl['Name']} of another owner. A stage has one, and "
                "pulumi up would replace it with this stack's.",
                "Ask its owner (Firewall Manager?), or leave it alone: "
                + account.fix("waf", "enabled", value="false"),
            )
    return Answer("ok", "No other web ACL is in front of the stage.")


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


def _increase(account: Account, service: str, quota: str, wanted: int) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value {wanted} --region {account.region}"
    )
