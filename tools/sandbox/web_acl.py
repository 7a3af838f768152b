"""The stage's web ACL: which of its registered rules blocks a request, as AWS WAF documents it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from throttling import WafRateLimit, choices
from throttling.limiters import WafRateRule
from tools.recorder.resources import Properties, Resource, Resources
from tools.sandbox.gateway_responses import GatewayResponse
from tools.sandbox.http_server import Request

_DEFAULT_WINDOW_SECONDS: Final = 300
_FORWARDED_FOR: Final = "x-forwarded-for"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule that blocks the requests that its statement matches, or only counts them."""

    name: str
    statement: Properties
    response: GatewayResponse | None
    """None for a rule that only counts."""


def is_understood(statement: Properties) -> bool:
    """Return whether `WebAcl` can evaluate a statement."""
    match statement:
        case {"rateBasedStatement": rate}:
            by_address = rate.get("aggregateKeyType", "IP") in ("IP", "FORWARDED_IP")
            return by_address and "scopeDownStatement" not in rate
        case {"notStatement": {"statement": inner}}:
            return is_understood(inner)
        case {"sizeConstraintStatement": {"fieldToMatch": {"singleHeader": _}} as size}:
            plain = all(step["type"] == "NONE" for step in size["textTransformations"])
            return plain and size["comparisonOperator"] == "GT"
    return False


def read_web_acl(
    resources: Resources, stage: Resource, forbidden: GatewayResponse
) -> tuple[tuple[Rule, ...], list[str]]:
    """Return the rules of a stage's web ACL by priority, and names of those not understood.

    A rule without an answer of its own gives `forbidden`.
    """
    rules: list[Rule] = []
    others: list[str] = []
    links = resources.of_type(
        "aws:wafv2/webAclAssociation:WebAclAssociation", resourceArn=stage.outputs["arn"]
    )
    for arn in (link.inputs["webAclArn"] for link in links):  # one at most
        found = resources.of_type("aws:wafv2/webAcl:WebAcl", arn=arn)
        if not found:
            return (), [f"web ACL {arn}"]
        (acl,) = found
        bodies = {body["key"]: body for body in acl.inputs.get("customResponseBodies", [])}
        for rule in sorted(acl.inputs.get("rules", []), key=lambda rule: int(rule["priority"])):
            action = rule.get("action", {})
            if not action.keys() & {"block", "count"} or not is_understood(rule["statement"]):
                others.append(f"web ACL rule {rule['name']}")
                continue
            own = action.get("block", {}).get("customResponse")
            blocked = _response(own, bodies) if own else forbidden
            response = blocked if "block" in action else None
            rules.append(Rule(name=rule["name"], statement=rule["statement"], response=response))
    return tuple(rules), others


def _response(own: Properties, bodies: Mapping[str, Properties]) -> GatewayResponse:
    """Return a rule's own response, which replaces API Gateway's."""
    body = bodies.get(own.get("customResponseBodyKey", ""), {})
    kind = {"APPLICATION_JSON": "application/json", "TEXT_HTML": "text/html"}
    return GatewayResponse(
        type="WAF_FILTERED",
        status=int(own["responseCode"]),
        error_type="ForbiddenException",
        template=body.get("content", ""),
        content_type=kind.get(body.get("contentType", ""), "text/plain"),
        headers={header["name"]: header["value"] for header in own.get("responseHeaders", [])},
    )


def rate_limits(rules: Sequence[Rule]) -> dict[str, WafRateLimit]:
    """Return the limits of the rate rules by the rules' names."""
    return {
        rule.name: WafRateLimit(
            limit=int(rate["limit"]),
            window_seconds=int(rate.get("evaluationWindowSec", _DEFAULT_WINDOW_SECONDS)),
        )
        for rule in rules
        if (rate := rule.statement.get("rateBasedStatement"))
    }


def address_header(rules: Sequence[Rule]) -> str:
    """Return the header whose addresses a rate rule counts; empty if all count the source's."""
    rates = [rule.statement.get("rateBasedStatement", {}) for rule in rules]
    configs = [rate.get("forwardedIpConfig") for rate in rates]
    return next((str(config["headerName"]) for config in configs if config), "")


class WebAcl:
    """Rules by priority, with their counts. The first that matches and blocks ends a request."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self.counted = {rule.name: 0 for rule in rules if not rule.response}
        """Requests that matched a rule that only counts, by its name."""
        self._rates = {
            name: WafRateRule(rate.limit, rate.window_seconds)
            for name, rate in rate_limits(rules).items()
        }
        self._stands_for_source = address_header(rules).lower() != _FORWARDED_FOR

    def windows(self, now: float, most: int) -> list[tuple[str, int, dict[str, int]]]:
        """Return name and limit of each rate rule, and the counts of its newest addresses."""
        limits = rate_limits(self._rules)
        return [
            (name, limits[name].limit, rate.counts(now, most)) for name, rate in self._rates.items()
        ]

    def source_address(self, request: Request) -> str:
        """Return the caller's address.

        Here that is the first address in X-Forwarded-For, so that one machine can be many callers,
        unless a rule reads this header as such.
        """
        forwarded = first_header(request, _FORWARDED_FOR) if self._stands_for_source else None
        return first_address(forwarded or "") or request.peer

    def blocks(self, now: float, request: Request, source: str) -> Rule | None:
        """Return the rule that blocks a request; None if none does."""
        for rule in self._rules:
            if self._matches(rule.name, rule.statement, now, request, source):
                if rule.response:
                    return rule
                self.counted[rule.name] += 1
        return None

    def _matches(
        self, rule: str, statement: Properties, now: float, request: Request, source: str
    ) -> bool:
        if inverted := statement.get("notStatement"):
            return not self._matches(rule, inverted["statement"], now, request, source)
        if size := statement.get("sizeConstraintStatement"):
            text = first_header(request, size["fieldToMatch"]["singleHeader"]["name"])
            return text is not None and len(text.encode("latin-1")) > int(size["size"])
        rate = statement["rateBasedStatement"]
        if rate.get("aggregateKeyType") == "FORWARDED_IP":
            # Without the header the rule does not apply; the fallback is for invalid addresses.
            # https://docs.aws.amazon.com/waf/latest/APIReference/API_ForwardedIPConfig.html
            config = rate["forwardedIpConfig"]
            text = first_header(request, config["headerName"])
            if text is None:
                return False
            source = first_address(text) or ""
            fallback = bool(config["fallbackBehavior"] == "MATCH")
            if not source and (choices.WAF_BLOCKS_INVALID_ADDRESSES or not fallback):
                return fallback
        return not self._rates[rule].take(now, source)


def first_header(request: Request, name: str) -> str | None:
    """Return the first line of a header; None without any."""
    lines = (value for key, value in request.headers if key == name.lower())
    return next(lines, None)


def first_address(text: str) -> str | None:
    """Return the first address in a header in one form, however proxies write it; None without.

    Proxies add ports, brackets, quotes and zones: `"[2001:db8::1%eth0]:443", 10.0.0.1`.
    """
    first = text.partition(",")[0].strip().strip('"')
    if first.startswith("["):
        first = first[1:].partition("]")[0]
    elif first.count(":") == 1:
        first = first.partition(":")[0]
    try:
        address = ip_address(first.partition("%")[0])
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)
