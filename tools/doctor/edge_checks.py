"""Whether API Gateway and WAF accept the stack: throttles, plans, keys, logging role, web ACL."""

from typing import Any, Final

from components.edge_protection import web_acl
from settings import Settings
from throttling.account import MAX_API_KEYS, MAX_USAGE_PLANS, MAX_WCU, WCU_BEFORE_EXTRA_COST
from tools.doctor.account import Account, Answer, CallError

_QUOTAS_PAGE: Final = "https://console.aws.amazon.com/servicequotas/home/services/apigateway/quotas"


def throttle(account: Account) -> Answer:
    """Check that the account admits as much as the stage."""
    shared = account.ask("apigateway:GetAccount").get("throttleSettings", {})
    rate, burst = float(shared.get("rateLimit", 0)), int(shared.get("burstLimit", 0))
    stage = account.settings.throttle
    fixes = []
    if stage.rate_limit > rate:
        fixes.append(account.fix("throttle", "rateLimit", value=f"{rate:.10g}"))
    if stage.burst_limit > burst:
        fixes.append(account.fix("throttle", "burstLimit", value=str(burst)))
    limit = (
        f"All APIs of the account in {account.region} share {rate:,.10g} requests per second with "
        f"a burst of {burst:,}"
    )
    if not fixes:
        return Answer("ok", f"{limit}; this stage may use {stage.rate_limit / rate:.0%} of it.")
    return Answer(
        "warning",
        f"{limit}, and the stage promises {stage.rate_limit:,.10g} with {stage.burst_limit:,}: the "
        "account refuses before the stage does.",
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
    """Check that the web ACL's rules fit into one web ACL."""
    if not account.settings.waf.enabled:
        return Answer("ok", "The stack has no web ACL.")
    rules = waf_rules(account.settings)
    try:
        used = int(account.ask("wafv2:CheckCapacity", Scope="REGIONAL", Rules=rules)["Capacity"])
    except CallError as error:
        if "WAFNonexistentItem" not in str(error) and "WAFUnavailableEntity" not in str(error):
            raise
        return Answer(
            "problem",
            f"AWS does not know one of the managed rule groups: {error}",
            "List those that it knows: aws wafv2 list-available-managed-rule-groups "
            f"--scope REGIONAL --region {account.region}",
        )
    if used <= WCU_BEFORE_EXTRA_COST:
        return Answer("ok", f"Its rules use {used:,} of {MAX_WCU:,} capacity units.")
    last = len(account.settings.waf.managed_rule_groups) - 1
    remove = account.fix("waf", "managedRuleGroups", last, value=None)
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


def waf_rules(settings: Settings) -> list[dict[str, Any]]:
    """Return the web ACL's rules in the form of WAF's own API.

    The response of a blocking rule is left out: it has no capacity, and refers to the web ACL.
    """
    visibility = {
        "SampledRequestsEnabled": True,
        "CloudWatchMetricsEnabled": True,
        "MetricName": settings.label,
    }
    own: dict[str, Any] = {"Action": {"Block": {}}}
    managed: dict[str, Any] = {"OverrideAction": {"None": {}}}
    return [
        {
            "Name": rule["name"],
            "Priority": rule["priority"],
            "Statement": _pascal(rule["statement"]),
            "VisibilityConfig": visibility,
            **(managed if "override_action" in rule else own),
        }
        for rule in web_acl.rules(settings.waf, settings.label)
    ]


def _pascal(value: Any) -> Any:  # noqa: ANN401  JSON
    """Return a statement with WAF's keys: `RateBasedStatement` for `rate_based_statement`."""
    if isinstance(value, list):
        return [_pascal(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        "".join({"ip": "IP"}.get(word, word.capitalize()) for word in key.split("_")): _pascal(item)
        for key, item in value.items()
    }


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
