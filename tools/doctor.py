"""`python -m tools doctor`: whether an AWS account can carry a stack."""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from typing import Final, Literal, NamedTuple

import click
from rich.text import Text

from settings import Settings, UserError, load_stack
from settings.errors import fix_command
from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU, WCU_BEFORE_EXTRA_COST
from throttling.review import highest
from tools.aws import LOG_IN, Account, CallError, endpoint_option
from tools.cli import Exit, console, format_option, print_json

_QUOTAS_PAGE: Final = "https://console.aws.amazon.com/servicequotas/home/services/apigateway/quotas"
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
_UNRESERVED_MINIMUM: Final = 100
"""Executions that AWS keeps for functions without a reservation."""
# https://docs.aws.amazon.com/vpc/latest/userguide/amazon-vpc-limits.html
_DEFAULT_VPCS: Final = 5
_STYLES: Final = {"ok": "green", "warning": "yellow", "problem": "bold red"}


class Answer(NamedTuple):
    """What a check found, and what to do about it."""

    severity: Literal["ok", "warning", "problem"]
    """A problem makes the update fail, or what it creates not work."""
    meaning: str
    action: str = ""
    """Words or commands."""


def _credentials(account: Account) -> Answer:
    try:
        who = account.ask("sts:GetCallerIdentity")
    except CallError as error:
        raise UserError(
            f"AWS refuses the credentials, or cannot be reached: {error}.\n{LOG_IN}"
        ) from None
    meaning = f"Account {who['Account']}, Region {account.region}, as {who['Arn']}."
    if account.settings.provider.assume_roles:
        unused = f"{meaning} The stack's aws:assumeRoles are not used here."
        return Answer("warning", unused, "Check that the stack goes to this account.")
    return Answer("ok", meaning)


def _deployed(account: Account) -> Answer:
    """Count what is there already, which the other checks do not hold against the stack."""
    count = len(account.own)
    return Answer("ok", f"Resources of the stack: {count:,}." if count else "Nothing of the stack.")


def _concurrency(account: Account) -> Answer:
    """Check that the reservation fits, or that the account has enough for the stage's rate."""
    limits = account.ask("lambda:GetAccountSettings")["AccountLimit"]
    total, free = limits["ConcurrentExecutions"], limits["UnreservedConcurrentExecutions"]
    function, reserved = account.settings.function, account.settings.function.reserved_concurrency
    (path, rate), _ = highest(account.settings.limits())
    if reserved is None:
        # Little's law: executions at once = requests per second x seconds for each.
        seconds = function.expected_duration_ms / 1000
        needed, most = math.ceil(rate * seconds), total / seconds
        together = f"Nothing is reserved, and all functions together run {total:,} executions"
        if total >= needed:
            return Answer("ok", f"{together}: enough for the stage if no other function is busy.")
        return Answer(
            "warning",
            f"{together} at once: about {most:,.0f} requests per second of "
            f"{function.expected_duration_ms:,} ms. The stage admits {rate:,.10g}; "
            "the rest get 503.",
            f"Ask AWS for more: {_increase(account, 'lambda', 'L-B99A9384', max(1000, needed))}\n"
            "or let the stage admit less: " + _fix(account, *path, value=f"{most:.10g}"),
        )
    for arn in account.own_ids("lambda", ":function:").values():
        # The deployed function's own reservation is free for the update.
        answer = account.ask("lambda:GetFunctionConcurrency", FunctionName=arn)
        free += answer.get("ReservedConcurrentExecutions", 0)
    kept = (
        f"{free:,} of the account's {total:,} are unreserved, and AWS keeps "
        f"{_UNRESERVED_MINIMUM} of them so"
    )
    free -= _UNRESERVED_MINIMUM
    if reserved <= free:
        return Answer("ok", f"{reserved:,} executions can be reserved: {kept}.")
    new = ", as in new accounts" if total <= _UNRESERVED_MINIMUM else ""
    value = str(free) if free >= 1 else "none"
    more = _increase(account, "lambda", "L-B99A9384", max(1000, total + reserved - free))
    return Answer(
        "problem",
        f"Stack {account.settings.stack} reserves {reserved:,} executions, and {max(free, 0):,} "
        f"can be: {kept}{new}. pulumi up would fail at the function.",
        f"{_fix(account, 'function', 'reservedConcurrency', value=value)}\n"
        f"or ask AWS for more: {more}",
    )


def _throttle(account: Account) -> Answer:
    """Check that the account admits as much as the stage and its methods."""
    shared = account.ask("apigateway:GetAccount")["throttleSettings"]
    rate, burst = shared["rateLimit"], shared["burstLimit"]
    wanted = highest(account.settings.limits())
    (_, promised), (_, at_once) = wanted
    limit = (
        f"All APIs of the account in {account.region} share {rate:,.10g} requests per second with "
        f"a burst of {burst:,}"
    )
    fixes = [
        _fix(account, *path, value=f"{allowed:.10g}")
        for (path, value), allowed in zip(wanted, (rate, burst), strict=True)
        if value > allowed
    ]
    if not fixes:
        return Answer("ok", f"{limit}; this stage may use {promised / rate:.0%} of it.")
    return Answer(
        "warning",
        f"{limit}, and the stage promises {promised:,.10g} with {at_once:,}: the account refuses "
        "before the stage does.",
        "\n".join([*fixes, f"or ask AWS for more: {_QUOTAS_PAGE}"]),
    )


def _usage_plans(account: Account) -> Answer:
    """Check that there is room for the stack's usage plans."""
    call, wanted = "apigateway:GetUsagePlans", len(account.settings.usage_plans)
    more = f"Ask AWS for more: {_QUOTAS_PAGE}"
    return _room(account, call, "/usageplans/", wanted, MAX_USAGE_PLANS, more)


def _api_keys(account: Account) -> Answer:
    """Check that there is room for the stack's API keys."""
    plans = account.settings.usage_plans.values()
    call, wanted = "apigateway:GetApiKeys", sum(len([*plan.api_keys()]) for plan in plans)
    return _room(account, call, "/apikeys/", wanted, MAX_API_KEYS, "AWS does not raise this limit.")


def _room(account: Account, call: str, part: str, wanted: int, most: int, more: str) -> Answer:
    own = account.own_ids("apigateway", part)
    others = sum(item["id"] not in own for item in account.ask_all(call, "items"))
    if others + wanted <= most:
        return Answer("ok", f"{wanted:,} needed; others have {others:,} of {most:,}.")
    return Answer(
        "problem",
        f"This stack needs {wanted:,}, others of the account have {others:,}, and there may be "
        f"{most:,} in all.",
        f"Delete those that are not used any more. {more}",
    )


def _logging_role(account: Account) -> Answer:
    """Check which stack manages the logging role, which all APIs of the account share."""
    manage = account.settings.manage_api_gateway_logging
    switch = _fix(account, "manageApiGatewayLogging", value="false" if manage else "true")
    name = account.ask("apigateway:GetAccount").get("cloudwatchRoleArn", "").rpartition("/")[2]
    tags = {}
    try:
        role = account.ask("iam:GetRole", RoleName=name)["Role"] if name else {}
        tags = {tag["Key"]: tag["Value"] for tag in role.get("Tags", [])}
    except CallError as error:
        if "NoSuchEntity" not in str(error):
            raise
        name = ""  # the account still names a role that is deleted
    if not name and not manage:
        return Answer(
            "problem",
            "The account has none, and without it API Gateway refuses a stage that logs.",
            f"{switch}\nlets this stack create it.",
        )
    if not name:
        return Answer("ok", "The account has none yet; this stack creates it.")
    if account.tags.items() <= tags.items():
        whose = "and this stack manages it" if manage else "which this stack made"
        return Answer("ok", f"The account uses {name}, {whose}.")
    known = account.tags.keys() <= tags.keys()
    owner = f"stack {tags['stack']} of project {tags['project']}" if known else "another owner"
    if not manage:
        return Answer("ok", f"The account uses {name} of {owner}; this stack leaves it alone.")
    return Answer(
        "warning",
        f"The account uses {name} of {owner}. pulumi up would replace it for all APIs of the "
        f"account in {account.region}.",
        f"{switch}\nleaves it alone: only one stack of an account and Region can manage it.",
    )


def _web_acl_capacity(account: Account) -> Answer:
    """Check that AWS has the managed rule groups, and that all rules fit into one web ACL."""
    waf = account.settings.waf
    if not waf.enabled:
        return Answer("ok", "The stack has no web ACL.")
    used, remove = waf.wcu, ""
    for place, group in enumerate(waf.managed_rule_groups):
        remove = _fix(account, "waf", "managedRuleGroups", place, value=None)
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
        used += found["Capacity"] - group.wcu
    uses = f"Its rules use {used:,} capacity units"
    if used <= WCU_BEFORE_EXTRA_COST:
        return Answer("ok", f"{uses} of {MAX_WCU:,}.")
    if used <= MAX_WCU:
        costs = f"{uses}; above {WCU_BEFORE_EXTRA_COST:,}, each request costs more."
        return Answer("warning", costs, f"Accept the cost, or remove a rule group: {remove}")
    too_many = f"{uses}, and a web ACL may have {MAX_WCU:,}."
    return Answer("problem", too_many, f"Remove a managed rule group: {remove}")


def _web_acl_association(account: Account) -> Answer:
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
        if acl and acl["ARN"] not in account.own_ids("wafv2", "/webacl/").values():
            return Answer(
                "warning",
                f"The stage has the web ACL {acl['Name']} of another owner. A stage has one, and "
                "pulumi up would replace it with this stack's.",
                "Ask its owner (Firewall Manager?), or leave it alone: "
                + _fix(account, "waf", "enabled", value="false"),
            )
    return Answer("ok", "No other web ACL is in front of the stage.")


def _vpcs(account: Account) -> Answer:
    """Check that there is room for one more VPC."""
    found = len(account.ask_all("ec2:DescribeVpcs", "Vpcs"))
    call, code = "servicequotas:GetServiceQuota", "L-F678F1CE"
    try:
        quota = account.ask(call, ServiceCode="vpc", QuotaCode=code)["Quota"]
        most, source = int(quota["Value"]), "its service quota"
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
        f"Delete one, or ask AWS for more: {_increase(account, 'vpc', code, most + 5)}",
    )


def _overlap(account: Account) -> Answer:
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
        _fix(account, "network", "cidr", value="10.64.0.0/16")
        + "\nuses other addresses. Changing them later replaces the VPC.",
    )


def _recipients(account: Account) -> Answer:
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
            _fix(account, "monitoring", "alarmEmails", 0, value="you@example.com"),
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


def _fix(account: Account, *path: str | int, value: str | None) -> str:
    return fix_command(account.settings.project, account.settings.stack, path, value)


def _increase(account: Account, service: str, quota: str, wanted: int) -> str:
    return (
        f"aws service-quotas request-service-quota-increase --service-code {service} "
        f"--quota-code {quota} --desired-value {wanted} --region {account.region}"
    )


CHECKS: Final[dict[str, Callable[[Account], Answer]]] = {
    "credentials": _credentials,
    "deployed already": _deployed,
    "function concurrency": _concurrency,
    "API Gateway throttle": _throttle,
    "usage plans": _usage_plans,
    "API keys": _api_keys,
    "API Gateway logging role": _logging_role,
    "web ACL capacity": _web_acl_capacity,
    "web ACL association": _web_acl_association,
    "VPCs": _vpcs,
    "network overlap": _overlap,
    "alarm e-mails": _recipients,
}
"""The checks by their subject, in the order of the report."""


@click.command(epilog="Example: python -m tools doctor --stack prod")
@click.option("--stack", default="prod", show_default=True, help="The stack to check.")
@format_option
@endpoint_option
def doctor(stack: str, output_format: str, endpoint_url: str | None) -> Exit:
    """Check whether an AWS account can carry a stack, before an update fails half way.

    No call changes anything.

    Exit status: 1 with problems, 2 when the account cannot be asked.
    """
    found = dict(examine(load_stack(stack), endpoint_url))
    counts = Counter(str(answer.severity) for answer in found.values())
    if output_format == "json":
        findings = [
            {"check": subject, "level": answer[0], "meaning": answer[1], "action": answer[2]}
            for subject, answer in found.items()
        ]
        print_json({"stack": stack, "deployable": not counts["problem"], "findings": findings})
    else:
        out = console()
        for subject, answer in found.items():
            level = (f"{answer.severity:>7}", _STYLES[answer.severity])
            out.print(Text.assemble(level, (f"  {subject}", "bold"), ": ", answer.meaning))
            for line in answer.action.splitlines():
                out.print(Text(f"         {line}", style="dim"))
        problems, warnings = (
            f"{counts[one] or 'no'} {one}{'' if counts[one] == 1 else 's'}"
            for one in ("problem", "warning")
        )
        out.print(Text(f"\nStack {stack}: {problems}, {warnings}.", style="bold"))
    return Exit.FINDINGS if counts["problem"] else Exit.OK


def examine(settings: Settings, endpoint_url: str | None = None) -> Iterator[tuple[str, Answer]]:
    """Yield each check's subject and answer. A check that fails is reported and stops no other.

    Raises:
        UserError: when the account cannot be asked.
    """
    account = Account(settings, endpoint_url)
    for subject, check in CHECKS.items():
        try:
            yield subject, check(account)
        except (CallError, KeyError) as error:
            why = f"the answer has no {error}" if isinstance(error, KeyError) else error
            action = "Allow it (docs/operate.md has a policy), or look in AWS's console."
            yield subject, Answer("warning", f"Not checked: {why}.", action)
