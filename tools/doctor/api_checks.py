"""Whether API Gateway and WAF take the stack: throttles, plans, keys, logging role, web ACL."""

from collections.abc import Iterator
from typing import Any, Final

from settings.errors import fix_command
from components.edge_protection import web_acl
from settings.schema import Settings
from tools.doctor.account import Account, Unanswered
from tools.doctor.finding import Finding, ok, problem, warning
from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU, WCU_BEFORE_EXTRA_COST

THROTTLE: Final = "API Gateway throttle"
PLANS: Final = "usage plans"
KEYS: Final = "API keys"
LOGGING: Final = "API Gateway logging role"
CAPACITY: Final = "web ACL capacity"
ASSOCIATION: Final = "web ACL association"
_QUOTAS_PAGE: Final = "https://console.aws.amazon.com/servicequotas/home/services/apigateway/quotas"


def account_throttle(account: Account, settings: Settings) -> Iterator[Finding]:
    """The account lets through what the stage does."""
    throttle = account.ask("apigateway", "get_account").get("throttleSettings", {})
    rate, burst = float(throttle.get("rateLimit", 0)), int(throttle.get("burstLimit", 0))
    stage = settings.throttle
    said = f"All APIs of the account in {account.region} share {rate:,g} requests per second"
    low = [
        ("rateLimit", rate) if stage.rate_limit > rate else None,
        ("burstLimit", float(burst)) if stage.burst_limit > burst else None,
    ]
    fixes = [
        fix_command(settings.project, settings.stack, ("throttle", one[0]), f"{one[1]:g}")
        for one in low
        if one
    ]
    if fixes:
        yield warning(
            THROTTLE,
            f"{said} with a burst of {burst:,}, and the stage promises {stage.rate_limit:,g} with "
            f"{stage.burst_limit:,}: the account refuses before the stage does.",
            "\n".join(fixes) + f"\nor ask AWS for more: {_QUOTAS_PAGE}",
        )
        return
    share = stage.rate_limit / rate if rate else 1.0
    yield ok(THROTTLE, f"{said} with a burst of {burst:,}; this stage may use {share:.0%} of it.")


def usage_plans(account: Account, settings: Settings) -> Iterator[Finding]:
    """There is room for the stack's usage plans."""
    there = account.ask_all("apigateway", "get_usage_plans", "items")
    others = len(there) - _owned(account, there, "/usageplans/")
    yield _room(PLANS, others, len(settings.usage_plans), MAX_USAGE_PLANS, raised=True)


def api_keys(account: Account, settings: Settings) -> Iterator[Finding]:
    """There is room for the stack's API keys."""
    there = account.ask_all("apigateway", "get_api_keys", "items", includeValues=False)
    others = len(there) - _owned(account, there, "/apikeys/")
    wanted = sum(len(plan.clients) for plan in settings.usage_plans.values())
    yield _room(KEYS, others, wanted, MAX_API_KEYS, raised=False)


def _owned(account: Account, items: list[dict[str, Any]], part: str) -> int:
    own = {arn.rpartition("/")[2] for arn in account.own_of("apigateway", part)}
    return sum(item["id"] in own for item in items)


def _room(check: str, others: int, wanted: int, most: int, *, raised: bool) -> Finding:
    if others + wanted > most:
        more = (
            f", or ask AWS for more: {_QUOTAS_PAGE}" if raised else "; AWS raises this for nobody"
        )
        return problem(
            check,
            f"This stack needs {wanted:,}, others of the account have {others:,}, and "
            f"{'by default' if raised else 'in a Region'} there may be {most:,} in all.",
            f"Delete what is not used any more{more}.",
        )
    return ok(check, f"{wanted:,} needed; others have {others:,} of {most:,}.")


def logging_role(account: Account, settings: Settings) -> Iterator[Finding]:
    """The one role with which all APIs of the account write logs is not taken from another."""
    role = account.ask("apigateway", "get_account").get("cloudwatchRoleArn")
    manage = settings.manage_api_gateway_logging
    path = ("manageApiGatewayLogging",)
    if not role:
        if manage:
            yield ok(LOGGING, "The account has none yet; this stack makes it.")
            return
        yield problem(
            LOGGING,
            "The account has none, and without one API Gateway refuses a stage that logs.",
            fix_command(settings.project, settings.stack, path, "true")
            + "\nlets this stack make it.",
        )
        return
    name = role.rpartition("/")[2]
    if name.startswith(f"{settings.project}-gateway-logs-role"):
        yield ok(LOGGING, f"The account uses {name}, which a stack of this project made.")
    elif manage:
        yield warning(
            LOGGING,
            f"Something else has set it to {role}. pulumi up would put another in its place, for "
            f"all APIs of the account in {account.region}.",
            fix_command(settings.project, settings.stack, path, "false") + "\nleaves it alone.",
        )
    else:
        yield ok(LOGGING, f"The account uses {name}, and this stack leaves it alone.")


def web_acl_capacity(account: Account, settings: Settings) -> Iterator[Finding]:
    """The web ACL's rules fit into one web ACL."""
    if not settings.waf.enabled:
        yield ok(CAPACITY, "The stack has no web ACL.")
        return
    groups = ("waf", "managedRuleGroups")
    try:
        answer = account.ask("wafv2", "check_capacity", Scope="REGIONAL", Rules=waf_rules(settings))
    except Unanswered as error:
        if "WAFNonexistentItem" not in str(error) and "WAFUnavailableEntity" not in str(error):
            raise
        yield problem(
            CAPACITY,
            f"AWS does not know one of the managed rule groups: {error}",
            "List those that it knows: aws wafv2 list-available-managed-rule-groups "
            f"--scope REGIONAL --region {account.region}",
        )
        return
    used = int(answer["Capacity"])
    last = (*groups, len(settings.waf.managed_rule_groups) - 1)
    command = fix_command(settings.project, settings.stack, last, None)
    if used > MAX_WCU:
        yield problem(
            CAPACITY,
            f"AWS counts {used:,} capacity units for its rules, and {MAX_WCU:,} may be in one.",
            f"Take a managed rule group away: {command}",
        )
    elif used > WCU_BEFORE_EXTRA_COST:
        yield warning(
            CAPACITY,
            f"AWS counts {used:,} capacity units for its rules; above {WCU_BEFORE_EXTRA_COST:,}, "
            f"each request costs more.",
            f"Fine if that is meant. If not: {command}",
        )
    else:
        yield ok(CAPACITY, f"Its rules use {used:,} of {MAX_WCU:,} capacity units.")


def waf_rules(settings: Settings) -> list[dict[str, Any]]:
    """The web ACL's rules as WAF's own API takes them.

    Without the answer that a rule gives: it counts for nothing, and refers to the web ACL's bodies.
    """
    return [
        {
            "Name": rule["name"],
            "Priority": rule["priority"],
            "Statement": _pascal(rule["statement"]),
            **(
                {"OverrideAction": {"None": {}}}
                if "override_action" in rule
                else {"Action": {"Block": {}}}
            ),
            "VisibilityConfig": {
                "SampledRequestsEnabled": True,
                "CloudWatchMetricsEnabled": True,
                "MetricName": settings.label,
            },
        }
        for rule in web_acl.rules(settings.waf, settings.label)
    ]


def _pascal(value: Any) -> Any:  # noqa: ANN401  JSON
    """Pulumi's `rate_based_statement` is WAF's `RateBasedStatement`."""
    if not isinstance(value, dict):
        return value
    return {
        "".join({"ip": "IP"}.get(word, word.capitalize()) for word in str(key).split("_")): _pascal(
            item
        )
        for key, item in value.items()
    }


def web_acl_association(account: Account, settings: Settings) -> Iterator[Finding]:
    """No other web ACL, such as Firewall Manager's, is in front of the deployed stage."""
    if not settings.waf.enabled:
        yield ok(ASSOCIATION, "The stack has no web ACL.")
        return
    stages = [
        f"arn:aws:apigateway:{account.region}::/restapis/{api['id']}/stages/{settings.stage_name}"
        for api in account.ask_all("apigateway", "get_rest_apis", "items")
        if api["name"] == settings.label
    ]
    for stage in stages:
        try:
            answer = account.ask("wafv2", "get_web_acl_for_resource", ResourceArn=stage)
        except Unanswered as error:
            if "WAFNonexistentItem" in str(error):
                continue
            raise
        acl = answer.get("WebACL")
        if acl and acl["ARN"] not in account.own:
            yield warning(
                ASSOCIATION,
                f"The stage has the web ACL {acl['Name']}, which is not this stack's; a stage has "
                f"one, and pulumi up would put this stack's in its place.",
                "Ask its owner (Firewall Manager?), or leave it alone: "
                + fix_command(settings.project, settings.stack, ("waf", "enabled"), "false"),
            )
            return
    yield ok(
        ASSOCIATION,
        "No other web ACL is in front of the stage." if stages else "There is no stage yet.",
    )
