"""Every setting of a stack: what it does, what it may be, and its default.

In a stack's file the names are in camelCase, under the project's namespace. The descriptions and
constraints here are also the words of the errors, the JSON Schema for editors, and the table in
docs/settings.md.
"""

import hashlib
import math
from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

from routes import METHODS, ROUTES
from settings.errors import Problem, written
from settings.paths import PROVIDER, Path
from settings.values import (
    NO_LIMIT,
    NUMBER_TOO,
    WHOLE,
    Burst,
    Count,
    Name,
    Network,
    Percent,
    Rate,
    Switch,
    Whole,
    form,
)
from throttling import Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.account import MAX_INTEGRATION_SECONDS, MAX_WCU
from throttling.review import Expectations, review

if TYPE_CHECKING:
    Method = str
else:
    Method = Literal[METHODS]
# https://docs.aws.amazon.com/apigateway/latest/developerguide/limits.html
_SECONDS_PER_PLAN: Final = 20
_MANY_PLANS: Final = 20
KeyNumber = Annotated[int, Field(strict=True, ge=1, le=9999, examples=[1]), WHOLE]
# SNS takes ASCII addresses only.
_Email = Annotated[
    str, form(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", "an e-mail address", "ops@example.com")
]

# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
_AWS_RULE_GROUP_WCU: Final = {
    "AWSManagedRulesCommonRuleSet": 700,
    "AWSManagedRulesAdminProtectionRuleSet": 100,
    "AWSManagedRulesKnownBadInputsRuleSet": 200,
    "AWSManagedRulesSQLiRuleSet": 200,
    "AWSManagedRulesLinuxRuleSet": 200,
    "AWSManagedRulesUnixRuleSet": 100,
    "AWSManagedRulesWindowsRuleSet": 200,
    "AWSManagedRulesPHPRuleSet": 100,
    "AWSManagedRulesWordPressRuleSet": 100,
    "AWSManagedRulesAmazonIpReputationList": 25,
    "AWSManagedRulesAnonymousIpList": 50,
}
_RATE_RULE_WCU: Final = 2
_SIZE_RULE_WCU: Final = 1
# https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
LONGEST_METRIC_NAME: Final = 128
RATE_RULE: Final = "rate-per-address"
RATE_METRIC: Final = "rate"
SOURCE_RULE: Final = "rate-per-source"
NO_ADDRESS_RULE: Final = "no-address"
SHADOW_RULE: Final = "shadow-rate-per-address"
OWN_RULES: Final = (RATE_RULE, RATE_METRIC, SOURCE_RULE, NO_ADDRESS_RULE, SHADOW_RULE)
"""Names of the web ACL's own rules and their metrics."""


class _Section(BaseModel):
    """A mapping of settings."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, use_attribute_docstrings=True
    )


class ThrottleSettings(_Section):
    """A token bucket."""

    rate_limit: Rate = Field(examples=[10])
    """Requests per second over the long run."""
    burst_limit: Burst = Field(examples=[20])
    """Requests that may arrive at once after a pause."""

    @property
    def rate_text(self) -> str:
        """The rate as it was configured: 1,000,000 or 0.5, not 1e+06."""
        return f"{self.rate_limit:,}".removesuffix(".0")

    def limit(self) -> Throttle:
        """Return this bucket as the throttling model has it."""
        return Throttle(rate=self.rate_limit, burst=self.burst_limit)


class StageThrottleSettings(ThrottleSettings):
    """The bucket of the stage, which all clients share."""

    rate_limit: Rate = 1000.0
    """Requests per second of all clients together."""
    burst_limit: Burst = 2000
    """Requests at once of all clients together."""
    methods: dict[Method, ThrottleSettings] = {}
    """Limits of single methods. They replace the stage's limits for requests of that method."""


class QuotaSettings(_Section):
    """The requests of one client in a calendar period."""

    limit: Whole = Field(ge=1, le=2_147_483_647, examples=[10_000])
    """Requests in a period."""
    period: Period = Period.DAY
    """Calendar period, in UTC, after which the count starts at 0 again."""


class UsagePlanSettings(ThrottleSettings):
    """A tier of service. Each of its clients has its own API key, bucket and quota."""

    quota: QuotaSettings
    clients: list[Name] = ["default"]
    """Names of the clients that get an API key of this plan."""
    keys: dict[Name, Annotated[list[KeyNumber], Field(min_length=1)]] = {}
    """Numbers of a client's API keys, the newest last. List two while one replaces the other. A
    client that is not listed has key 1."""

    def api_keys(self) -> Iterator[tuple[str, int]]:
        """Return client and number of each API key of this plan."""
        return ((client, n) for client in self.clients for n in self.keys.get(client, [1]))


def api_key_holder(client: str, number: int) -> str:
    """Return the name of a key in resources and limits: the first key has its client's name.

    Names of clients hold no dot, so each key has a name of its own.
    """
    return client if number == 1 else f"{client}.{number}"


# https://docs.aws.amazon.com/waf/latest/APIReference/API_RateBasedStatement.html
LEAST_WAF_RATE: Final = 10
_Window = Literal[60, 120, 300, 600]
WAF_WINDOWS: Final[tuple[int, ...]] = get_args(_Window)
"""Seconds of the windows that a rate rule can have."""
WindowSeconds = Annotated[_Window, WHOLE]


class ManagedRuleGroupSettings(_Section):
    """A managed WAF rule group with its capacity."""

    name: Annotated[str, form("[A-Za-z0-9_-]{1,128}", "a name", "MyRuleGroup"), NUMBER_TOO]
    """Name of the rule group."""
    vendor_name: Annotated[str, form("[!-~][ -~]{0,127}", "a vendor's name", "AWS"), NUMBER_TOO] = (
        "AWS"
    )
    """Vendor of the rule group."""
    wcu: Whole = Field(ge=1, le=MAX_WCU, examples=[100])
    """Web ACL capacity units (WCU) that the rule group uses."""


def _by_name(value: object) -> object:
    """Return the rule group of AWS that a name stands for."""
    if isinstance(value, str) and value in _AWS_RULE_GROUP_WCU:
        return {"name": value, "wcu": _AWS_RULE_GROUP_WCU[value]}
    return value


_RuleGroupName = Annotated[str, Field(json_schema_extra={"enum": [*_AWS_RULE_GROUP_WCU]})]
RuleGroup = Annotated[
    ManagedRuleGroupSettings,
    BeforeValidator(_by_name, json_schema_input_type=_RuleGroupName | ManagedRuleGroupSettings),
]


class ShadowSettings(_Section):
    """A rate limit that only counts, to watch before it blocks."""

    rate_limit: Whole = Field(ge=LEAST_WAF_RATE, le=2_000_000_000, examples=[1000])
    """Requests from one address in a window. More are counted, and still pass."""
    window_seconds: WindowSeconds = 300
    """Length of this window in seconds."""

    def limit(self) -> WafRateLimit:
        """Return this limit as the throttling model has it."""
        return WafRateLimit(limit=self.rate_limit, window_seconds=self.window_seconds)


class WafSettings(_Section):
    """The web ACL in front of the stage."""

    enabled: Switch = True
    """Whether there is a web ACL."""
    rate_limit: Whole = Field(2000, ge=LEAST_WAF_RATE, le=2_000_000_000)
    """Requests from one address in a window."""
    window_seconds: WindowSeconds = 300
    """Length of the window in seconds."""
    shadow: ShadowSettings | None = None
    """A second rate limit that only counts what it would block."""
    aggregate_by: Literal["IP", "FORWARDED_IP"] = "IP"
    """Which address counts. Behind a CDN use FORWARDED_IP: the first one in forwardedHeader."""
    forwarded_header: Annotated[
        # The provider takes no longer name in a rule that looks for a header.
        str, form("[A-Za-z0-9-]{1,40}", "1 to 40 letters, digits and -", "CF-Connecting-IP")
    ] = "True-Client-IP"
    """With FORWARDED_IP, the header with the caller's address. Requests without it are blocked.
    The CDN must overwrite it: X-Forwarded-For begins with whatever the caller wrote there."""
    source_rate_limit: Whole = Field(20_000, ge=LEAST_WAF_RATE, le=2_000_000_000)
    """With FORWARDED_IP, requests from one server of the CDN in a window."""
    managed_rule_groups: list[RuleGroup] = []
    """Managed rule groups to add."""
    logging: Switch = True
    """Whether the web ACL logs requests."""
    log_only: Literal["ALL", "ALLOWED", "BLOCKED"] = "ALL"
    """Which requests are logged. AWS bills each line, and a flood has many blocked requests."""

    @property
    def wcu(self) -> int:
        """Web ACL capacity units of all its rules."""
        forwarded = self.aggregate_by == "FORWARDED_IP"
        own = _RATE_RULE_WCU * (2 if self.shadow else 1) + forwarded * (
            _RATE_RULE_WCU + _SIZE_RULE_WCU
        )
        return own + sum(group.wcu for group in self.managed_rule_groups)


class FunctionSettings(_Section):
    """The Lambda function."""

    memory_mb: Whole = Field(1024, ge=128, le=10_240)
    """Memory in MB."""
    timeout_seconds: Whole = Field(10, ge=1, le=MAX_INTEGRATION_SECONDS)
    """Seconds after which Lambda ends a request. API Gateway waits no longer than the maximum."""
    reserved_concurrency: Annotated[
        Annotated[int, Field(strict=True, ge=1, le=100_000), WHOLE] | None, NO_LIMIT
    ] = 100
    """Requests that the function works on at once. Use none in a new account, which cannot
    reserve."""
    expected_duration_ms: Whole = Field(100, ge=1, le=MAX_INTEGRATION_SECONDS * 1000)
    """Average milliseconds for one request, for the review of the limits and the cost."""
    architecture: Literal["arm64", "x86_64"] = "arm64"
    """Processor of the function."""
    runtime: Literal["python3.13", "python3.12", "python3.14"] = "python3.13"
    """Lambda runtime."""
    snap_start: Switch = False
    """Whether SnapStart shortens cold starts."""


class TableSettings(_Section):
    """The DynamoDB table."""

    max_write_request_units: Annotated[Burst | None, NO_LIMIT] = None
    """Writes of 1 KB per second beyond which DynamoDB throttles. The provider cannot remove a cap:
    raise it instead."""
    point_in_time_recovery: Switch = True
    """Whether the table can be restored to any second of the last 35 days."""
    old_deletion_protection: Switch | None = Field(
        None, alias="deletionProtection", exclude=True, json_schema_extra={"deprecated": True}
    )
    """Old name of the setting deletionProtection."""


class NetworkSettings(_Section):
    """The isolated VPC."""

    cidr: Network = IPv4Network("10.1.0.0/16")
    """IPv4 network of the VPC. Each availability zone gets an eighth of it."""
    availability_zones: Whole = Field(2, ge=1, le=6)
    """Availability zones with a subnet."""
    flow_logs: Switch = True
    """Whether the VPC logs its connections."""


class ThresholdSettings(_Section):
    """The values above which an alarm sounds."""

    throttled_requests: Count = 100
    """Requests in 5 minutes that a plan or the stage throttles."""
    quota_exceeded_requests: Count = 100
    """Requests in 5 minutes beyond a quota."""
    waf_blocked_requests: Count = 100
    """Requests in 5 minutes that the web ACL blocks."""
    server_errors: Count = 5
    """Responses in 5 minutes with a status of 500 or above."""
    latency_p99_ms: Whole = Field(3000, ge=1, le=MAX_INTEGRATION_SECONDS * 1000)
    """Milliseconds within which 99 % of the requests are answered."""
    function_throttles: Count = 10
    """Requests in 5 minutes beyond the function's concurrency."""
    function_errors: Count = 0
    """Requests in 5 minutes on which the function fails."""
    function_duration_percent: Percent = 80
    """Longest request, in percent of the function's timeout."""
    function_concurrency_percent: Percent = 80
    """Requests worked on at once, in percent of the reserved concurrency."""
    table_throttles: Count = 0
    """Writes in 5 minutes that the table throttles."""


class MonitoringSettings(_Section):
    """Alarms, dashboard and logs."""

    alarm_emails: list[_Email] = []
    """Addresses that get the alarms."""
    # https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
    # fmt: off
    log_retention_days: Annotated[
        Literal[
            1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557,
            2922, 3288, 3653,
        ],
        WHOLE,
    ] = 365
    # fmt: on
    """Days until CloudWatch deletes a log entry."""
    thresholds: ThresholdSettings = ThresholdSettings()
    dashboard: Switch = True
    """Whether there is a dashboard."""


def _plan(rate: float, burst: int, quota: int) -> UsagePlanSettings:
    return UsagePlanSettings.model_validate(
        {"rateLimit": rate, "burstLimit": burst, "quota": {"limit": quota}}
    )


class Config(_Section):
    """The config under the project's namespace."""

    stage_name: Annotated[
        str, form("[A-Za-z0-9_-]{1,128}", "1 to 128 letters, digits, - and _", "live")
    ] = Field(default_factory=str)  # `parse_settings` puts the name of the stack here
    """Name of the stage in the API's URL. The default is the name of the stack."""
    deletion_protection: Switch = True
    """Whether AWS refuses to delete the table, and Pulumi refuses to delete or replace the table,
    the stage with its URL, and the VPC."""
    throttle: StageThrottleSettings = StageThrottleSettings()
    usage_plans: Annotated[dict[Name, UsagePlanSettings], Field(min_length=1)] = {
        "basic": _plan(100, 200, 10_000),
        "premium": _plan(500, 1000, 100_000),
    }
    """Usage plans by name."""
    waf: WafSettings = WafSettings()
    function: FunctionSettings = FunctionSettings()
    table: TableSettings = TableSettings()
    network: NetworkSettings = NetworkSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    manage_api_gateway_logging: Switch = True
    """Whether the stack sets the role with which API Gateway writes logs: one for all APIs of an
    account and Region."""


# The console, the managed policy and the deploying roles are those of AWS's main partition.
REGION: Final = "([abd-z][a-z]|c[a-mo-z])-[a-z]+-[0-9]{1,2}"
# https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html
_TAG: Final = "[A-Za-z0-9 _.:/=+@-]"
_OWN_TAGS: Final = ("project", "stack", "managed-by")


def _not_own_tag(name: str) -> str:
    if name in _OWN_TAGS or name.startswith("aws:"):
        raise ValueError
    return name


_TagName = Annotated[
    str,
    form(f"{_TAG}{{1,128}}", f"a tag's name, not {', '.join(_OWN_TAGS)} or aws:...", "team"),
    AfterValidator(_not_own_tag),
]
_TagValue = Annotated[
    str,
    form(f"{_TAG}{{0,256}}", "up to 256 letters, digits, spaces and _.:/=+@-", "web"),
    NUMBER_TOO,
]
_AccountId = Annotated[str, form("[0-9]{12}", "12 digits", "111122223333"), NUMBER_TOO]
_Url = Annotated[str, form("https?://[!-~]+", "a URL", "http://127.0.0.1:4566")]


class AssumedRole(_Section):
    """A role that the provider assumes."""

    role_arn: Annotated[
        str, form("arn:aws:iam::.+", "the ARN of a role", "arn:aws:iam::111122223333:role/deploy")
    ]
    """ARN of the role."""
    session_name: str = ""
    """Name of the session in CloudTrail."""
    external_id: str = ""
    """External ID that the role's trust policy asks for."""
    duration: str = ""
    """How long the credentials last, such as 1h."""


class DefaultTags(_Section):
    """Tags of the provider's own setting."""

    # An API key has six tags, and AWS takes 50.
    tags: Annotated[dict[_TagName, _TagValue], Field(max_length=44)] = {}
    """Tags of every resource besides project, stack and managed-by."""


class Provider(_Section):
    """The settings of the AWS provider that the program uses, under the namespace `aws`."""

    region: Annotated[
        str,
        form(REGION, "a Region outside of China, GovCloud and isolated partitions", "us-east-1"),
    ] = ""
    """AWS Region of the stack. Without it the AWS environment decides."""
    profile: str = ""
    """Profile in the AWS configuration of the person who deploys the stack."""
    allowed_account_ids: list[_AccountId] = []
    """Accounts that the stack may go to. Empty for any."""
    forbidden_account_ids: list[_AccountId] = []
    """Accounts that the stack may not go to."""
    assume_roles: list[AssumedRole] = []
    """Roles to assume, one after the other."""
    default_tags: DefaultTags = DefaultTags()
    endpoints: list[dict[str, _Url]] = []
    """URLs to call in place of AWS's, such as those of an emulator, by service."""
    skip_credentials_validation: Switch = False
    """Whether to skip asking STS if the credentials are valid."""
    skip_metadata_api_check: Switch = False
    """Whether to skip asking EC2's metadata service for credentials."""
    skip_region_validation: Switch = True
    """Whether to skip comparing the Region with a list of known ones."""
    skip_requesting_account_id: Switch = False
    """Whether to skip asking for the account's ID."""


class StackSettings(Config):
    """The config of one stack, with that of its provider."""

    provider: Provider = Field(Provider(), alias=PROVIDER, exclude=True)
    """All settings of the provider, region and profile too."""


class Settings(StackSettings):
    """The config of one stack, checked and typed."""

    project: str
    stack: str
    region: str | None
    profile: str | None

    @property
    def label(self) -> str:
        """Project and stack, as a text that every AWS name may be.

        No other stack has the same label.
        """
        label = f"{self.project}-{self.stack}"
        plain = label.replace(".", "-")
        if plain == label and len(label) <= LONGEST_METRIC_NAME:
            return label
        digest = hashlib.sha256(label.encode()).hexdigest()[:6]
        return f"{plain[: LONGEST_METRIC_NAME - 7]}-{digest}"

    def limits(self) -> Limits:
        """Return the limits that callers meet."""
        waf = WafRateLimit(limit=self.waf.rate_limit, window_seconds=self.waf.window_seconds)
        return Limits(
            waf=waf if self.waf.enabled else None,
            usage_plans={
                name: UsagePlan(
                    clients=tuple(sorted(api_key_holder(*key) for key in plan.api_keys())),
                    throttle=plan.limit(),
                    quota=Quota(limit=plan.quota.limit, period=plan.quota.period),
                )
                for name, plan in self.usage_plans.items()
            },
            stage=self.throttle.limit(),
            methods={name: method.limit() for name, method in self.throttle.methods.items()},
            keyless=tuple(sorted(route.method for route in ROUTES if not route.needs_key)),
            concurrency=self.function.reserved_concurrency,
        )

    def expectations(self) -> Expectations:
        """Return what a review of the limits needs besides them."""
        return Expectations(
            region=self.region,
            duration_seconds=self.function.expected_duration_ms / 1000,
            max_write_request_units=self.table.max_write_request_units,
            wcu=self.waf.wcu,
            managed_rule_groups=len(self.waf.managed_rule_groups),
            waf_shadow=self.waf.shadow.limit() if self.waf.shadow else None,
        )

    def warnings(self) -> list[str]:
        """Return what the settings do that their owner may not expect, each with its commands."""
        problems = [
            Problem(finding.path, finding.message, [(finding.path, finding.fix)])
            for finding in review(self.limits(), self.expectations())
            if finding.level == "warning"
        ]
        if (count := len(self.usage_plans)) > _MANY_PLANS:
            minutes = math.ceil(count * _SECONDS_PER_PLAN / 60)
            message = (
                f"a change of all {count} plans takes at least {minutes} minutes: AWS takes one "
                f"change of a plan in {_SECONDS_PER_PLAN} seconds from an account."
            )
            path: Path = ("usagePlans",)
            problems.append(Problem(path, message, [((*path, [*self.usage_plans][-1]), None)]))
        if (old := self.table.old_deletion_protection) is not None:
            path = ("table", "deletionProtection")
            commands = [(("deletionProtection",), written(old)), (path, None)]
            problems.append(Problem(path, "is the old name of deletionProtection.", commands))
        return [problem.text(self.project, self.stack) for problem in problems]
