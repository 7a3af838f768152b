"""The stack's config as typed settings: checked whole, before any resource is registered.

`load_settings` is what the program calls; `parse_settings` is the same without Pulumi's engine.
Every default and every bound is here, each with its reason.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from ipaddress import IPv4Network
from typing import Annotated, Any, Final

import pulumi
from pulumi.runtime.config import (
    CONFIG,
    get_config_env,
    get_config_secret_keys_env,
    is_config_secret,
)
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from settings.errors import (
    Path,
    Problem,
    SettingsError,
    config_key,
    field_problems,
    fix_command,
    shown,
)
from settings.files import StackConfig
from settings.text import TextError, value_of
from settings.kinds import Network, OneOf, Rate, Switch, Text, Whole
from routes import METHODS
from throttling import Limits, Period, Quota, Throttle, UsagePlan, WafRateLimit
from throttling.account import MAX_API_KEYS, MAX_INTEGRATION_SECONDS, MAX_USAGE_PLANS, MAX_WCU
from throttling.review import Expectations, review

_NAME: Final = Text(
    r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}",
    "1 to 64 letters, digits, - and _, the first a letter or a digit",
    "default",
)
Name = Annotated[str, _NAME]

# SNS takes no others.
_EMAIL: Final = Text(r"[!-?A-~]+@[!-?A-~]+\.[!-?A-~]+", "an e-mail address", "ops@example.com")
_REGION: Final = Text(r"[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}", "the name of a Region", "us-east-1")
_HIDDEN: Final = "is stored as a secret, which a preview cannot show"

# https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html
_RETENTION_DAYS: Final = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827),
    *(2192, 2557, 2922, 3288, 3653),
)
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
RATE_RULE: Final = "rate-per-address"
RATE_METRIC: Final = "rate"
_MENDING_ROUNDS: Final = 4
"""Mending one value may uncover another: a plan that goes may leave none."""


class _Section(BaseModel):
    """A mapping of the config: camelCase there, snake_case here."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class ThrottleSettings(_Section):
    """A token bucket."""

    rate_limit: Annotated[float, Rate()] = Field(
        description="requests per second over the long run"
    )
    burst_limit: Annotated[int, Whole(1, 1_000_000, suggest=20)] = Field(
        description="requests that may arrive at once after a pause"
    )

    def limit(self) -> Throttle:
        """This bucket as the throttling model has it."""
        return Throttle(rate=self.rate_limit, burst=self.burst_limit)


class StageThrottleSettings(ThrottleSettings):
    """The stage's bucket, which all clients share, and those of single methods."""

    rate_limit: Annotated[float, Rate()] = Field(
        1000.0, description="requests per second, all clients together"
    )
    burst_limit: Annotated[int, Whole(1, 1_000_000)] = Field(
        2000, description="requests at once, all clients together"
    )
    methods: dict[Annotated[str, OneOf(METHODS)], ThrottleSettings] = Field(
        default_factory=dict, description="throttles of single methods, within the stage's"
    )


class QuotaSettings(_Section):
    """What one client may do in a calendar period."""

    limit: Annotated[int, Whole(1, 2_147_483_647, suggest=10_000)] = Field(
        description="requests a period"
    )
    period: Annotated[Period, OneOf([period.value for period in Period])] = Field(
        Period.DAY, description="when the count starts anew"
    )


class UsagePlanSettings(ThrottleSettings):
    """A tier of service. Each of its clients has an API key, a bucket and a quota of its own."""

    quota: QuotaSettings = Field(description="requests of one client in a period")
    clients: list[Name] = Field(
        default_factory=lambda: ["default"], description="who holds an API key of this plan"
    )
    keys: dict[Name, Annotated[list[Annotated[int, Whole(1, 9999)]], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="numbers of a client's API keys, the newest last, while one takes over from"
        " another; a client that is not named here has key 1",
    )

    def api_keys(self) -> Iterator[tuple[str, int]]:
        """Client and number of each API key of this plan."""
        return ((client, n) for client in self.clients for n in self.keys.get(client, [1]))


def api_key_holder(client: str, number: int) -> str:
    """A key as resources and limits name it; a client's first key by the client's name alone.

    Names of clients hold no dot, so no two keys have one name.
    """
    return client if number == 1 else f"{client}.{number}"


class ManagedRuleGroupSettings(_Section):
    """A managed WAF rule group: one of AWS's by its name alone, or any with its capacity."""

    name: Annotated[str, Text(r"[A-Za-z0-9_-]{1,128}", "a rule group's name", "MyRuleGroup")]
    vendor_name: Annotated[str, Text(r"[!-~][ -~]{0,127}", "a vendor's name", "AWS")] = "AWS"
    wcu: Annotated[int, Whole(1, MAX_WCU, suggest=100)] = Field(
        description="web ACL capacity units it uses"
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if isinstance(value, str):
            name = OneOf(_AWS_RULE_GROUP_WCU, "or a mapping of name, vendorName and wcu")
            return {"name": name.parse(value), "wcu": _AWS_RULE_GROUP_WCU[value]}
        return value


class WafSettings(_Section):
    """The web ACL in front of the stage."""

    enabled: Annotated[bool, Switch()] = True
    # https://docs.aws.amazon.com/waf/latest/APIReference/API_RateBasedStatement.html
    rate_limit: Annotated[int, Whole(10, 2_000_000_000)] = Field(
        2000, description="requests per window from one address"
    )
    window_seconds: Annotated[int, OneOf((60, 120, 300, 600))] = 300
    aggregate_by: Annotated[str, OneOf(("IP", "FORWARDED_IP"))] = Field(
        "IP", description="FORWARDED_IP behind a CDN: the first address of X-Forwarded-For"
    )
    managed_rule_groups: list[ManagedRuleGroupSettings] = Field(default_factory=list)
    logging: Annotated[bool, Switch()] = True

    @property
    def wcu(self) -> int:
        """Web ACL capacity units of all its rules."""
        return _RATE_RULE_WCU + sum(group.wcu for group in self.managed_rule_groups)


class FunctionSettings(_Section):
    """The Lambda function."""

    memory_mb: Annotated[int, Whole(128, 10_240)] = 1024
    # Longer than API Gateway waits is time paid for an answer that nobody gets.
    timeout_seconds: Annotated[int, Whole(1, MAX_INTEGRATION_SECONDS)] = 10
    reserved_concurrency: Annotated[int | None, Whole(1, 100_000, optional=True)] = Field(
        100, description="requests worked on at once; none for new accounts, which cannot reserve"
    )
    expected_duration_ms: Annotated[int, Whole(1, MAX_INTEGRATION_SECONDS * 1000)] = Field(
        100, description="average time for one request, for the review of the limits"
    )
    architecture: Annotated[str, OneOf(("arm64", "x86_64"))] = "arm64"
    runtime: Annotated[str, OneOf(("python3.13", "python3.12", "python3.14"))] = "python3.13"
    snap_start: Annotated[bool, Switch()] = False


class TableSettings(_Section):
    """The DynamoDB table."""

    max_write_request_units: Annotated[int | None, Whole(1, 1_000_000, optional=True)] = Field(
        None,
        description="writes of 1 KB per second past which DynamoDB throttles; none for a table that"
        " never had a cap. The provider cannot take one away: raise it instead",
    )
    point_in_time_recovery: Annotated[bool, Switch()] = True
    deletion_protection: Annotated[bool, Switch()] = Field(
        True,
        description="whether AWS refuses to delete the table, and Pulumi to delete or replace what"
        " cannot be had back: the table, the stage with its URL, and the VPC",
    )


class NetworkSettings(_Section):
    """The isolated VPC."""

    # One eighth of the VPC for each zone, and AWS's smallest subnet is a /28.
    cidr: Annotated[IPv4Network, Network(16, 25, "as each zone gets an eighth of it")] = (
        IPv4Network("10.1.0.0/16")
    )
    availability_zones: Annotated[int, Whole(1, 6)] = 2
    flow_logs: Annotated[bool, Switch()] = True


class ThresholdSettings(_Section):
    """An alarm sounds above these: counts in five minutes, unless the name has another unit."""

    throttled_requests: Annotated[int, Whole(0, 1_000_000_000)] = 100
    quota_exceeded_requests: Annotated[int, Whole(0, 1_000_000_000)] = 100
    waf_blocked_requests: Annotated[int, Whole(0, 1_000_000_000)] = 100
    server_errors: Annotated[int, Whole(0, 1_000_000_000)] = 5
    latency_p99_ms: Annotated[int, Whole(1, MAX_INTEGRATION_SECONDS * 1000)] = 3000
    function_throttles: Annotated[int, Whole(0, 1_000_000_000)] = 10
    function_errors: Annotated[int, Whole(0, 1_000_000_000)] = 0
    function_duration_percent: Annotated[int, Whole(1, 100)] = Field(
        80, description="of the function's timeout"
    )
    function_concurrency_percent: Annotated[int, Whole(1, 100)] = Field(
        80, description="of the reserved concurrency"
    )
    table_throttles: Annotated[int, Whole(0, 1_000_000_000)] = 0


class MonitoringSettings(_Section):
    """Alarms, dashboard, and how long logs are kept."""

    alarm_emails: list[Annotated[str, _EMAIL]] = Field(default_factory=list)
    log_retention_days: Annotated[int, OneOf(_RETENTION_DAYS)] = 365
    thresholds: ThresholdSettings = ThresholdSettings()
    dashboard: Annotated[bool, Switch()] = True


_DEFAULT_PLANS: Final = {
    "basic": {"rateLimit": 100, "burstLimit": 200, "quota": {"limit": 10_000}},
    "premium": {"rateLimit": 500, "burstLimit": 1000, "quota": {"limit": 100_000}},
}


class Config(_Section):
    """The config under the project's namespace, as it is typed."""

    stage_name: Annotated[str, Text(r"[A-Za-z0-9_-]{1,128}", "letters, digits, - and _", "live")]
    throttle: StageThrottleSettings = StageThrottleSettings()
    usage_plans: dict[Name, UsagePlanSettings] = Field(
        default_factory=lambda: {
            name: UsagePlanSettings.model_validate(plan) for name, plan in _DEFAULT_PLANS.items()
        },
        min_length=1,
    )
    waf: WafSettings = WafSettings()
    function: FunctionSettings = FunctionSettings()
    table: TableSettings = TableSettings()
    network: NetworkSettings = NetworkSettings()
    monitoring: MonitoringSettings = MonitoringSettings()
    manage_api_gateway_logging: Annotated[bool, Switch()] = Field(
        True, description="set the account-wide role with which API Gateway writes logs"
    )


class Settings(Config):
    """The config of one stack, with what names the stack."""

    project: str
    stack: str
    region: str | None
    """`aws:region` of the stack's config; without it, the AWS environment decides."""
    profile: str | None
    """`aws:profile` of the stack's config."""

    @property
    def deletion_protection(self) -> bool:
        """Whether stage, VPC and table are protected from deletion and replacement."""
        return self.table.deletion_protection

    @property
    def label(self) -> str:
        """Project and stack, in characters that every AWS name may have, and no other stack's."""
        label = f"{self.project}-{self.stack}"
        plain = label.replace(".", "-")
        if plain == label:
            return label
        return f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"

    def limits(self) -> Limits:
        """What a caller meets, as the throttling model has it."""
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
            concurrency=self.function.reserved_concurrency,
        )

    def expectations(self) -> Expectations:
        """What a review of the limits needs besides."""
        return Expectations(
            region=self.region,
            duration_seconds=self.function.expected_duration_ms / 1000,
            max_write_request_units=self.table.max_write_request_units,
            wcu=self.waf.wcu,
            managed_rule_groups=len(self.waf.managed_rule_groups),
        )

    def warnings(self) -> list[str]:
        """What these limits do that their owner may not expect, each with a command."""
        return [
            f"{config_key(self.project, finding.path)}: {finding.message}\n"
            f"      {fix_command(self.project, self.stack, finding.path, finding.fix)}"
            for finding in review(self.limits(), self.expectations())
            if finding.level == "warning"
        ]


def load_settings() -> Settings:
    """The settings of the stack that Pulumi is running, its warnings logged.

    Raises:
        pulumi.RunError: listing every problem of the config; Pulumi shows it without a traceback.
    """
    project = pulumi.get_project()
    values: dict[str, str] = {**get_config_env(), **CONFIG.get()}
    secret = {*get_config_secret_keys_env(), *filter(is_config_secret, values)}
    config = StackConfig(
        project=project, stack=pulumi.get_stack(), values=values, secret_keys=frozenset(secret)
    )
    try:
        settings = parse_settings(config)
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for warning in settings.warnings():
        pulumi.log.warn(warning)
    return settings


def parse_settings(given: StackConfig) -> Settings:
    """Return a stack's config, checked and typed.

    Raises:
        SettingsError: listing every problem, each with the command that fixes it.
    """
    config, secret_keys = given.values, given.secret_keys
    project, stack = given.project, given.stack
    tree: dict[str, Any] = {}
    problems: list[Problem] = [*_provider_problems(config, secret_keys)]
    for key, value in config.items():
        namespace, _, name = key.partition(":")
        if namespace != project:
            continue
        if key in secret_keys:
            problems.append(Problem(path=(name,), problem=_HIDDEN))
        else:
            try:
                tree[name] = value_of(value)
            except TextError as error:
                problems.append(Problem(path=(name,), problem=str(error)))
    default = {"stageName": stack}
    checked, misfits = _check(tree, default)
    problems += misfits
    if checked:
        # A value already found wrong is not held against others too.
        wrong = [problem.path for problem in problems]
        problems += [
            problem
            for problem in _contradictions(checked)
            if not any(_within(path, bad) for path in problem.concerns for bad in wrong)
        ]
    if problems:
        raise SettingsError(_in_order(problems), project=project, stack=stack)
    return Settings.model_validate(
        {
            **default,
            **tree,
            "project": project,
            "stack": stack,
            "region": config.get("aws:region"),
            "profile": config.get("aws:profile") or None,
        }
    )


def _provider_problems(
    config: Mapping[str, str], secret_keys: Collection[str]
) -> Iterator[Problem]:
    """What is wrong with the settings of the AWS provider that the program hands on."""
    for name in ("region", "profile"):
        if f"aws:{name}" in secret_keys:
            yield Problem(namespace="aws", path=(name,), problem=_HIDDEN)
    region = config.get("aws:region")
    if region is not None and "aws:region" not in secret_keys:
        try:
            _REGION.parse(region)
        except PydanticCustomError as error:
            yield Problem(
                namespace="aws",
                path=("region",),
                problem=f"{shown(region)} {error.message()}",
                allowed=_REGION.allowed,
                fix=_REGION.example,
            )


def _check(tree: dict[str, Any], default: Mapping[str, Any]) -> tuple[Config | None, list[Problem]]:
    """The typed config and its misfits, each of which is replaced by its fix.

    Mending lets what depends on several values be checked although some are wrong.
    """
    problems: list[Problem] = []
    mended = tree
    for _ in range(_MENDING_ROUNDS):
        try:
            return Config.model_validate({**default, **mended}), problems
        except ValidationError as error:
            found = field_problems(error, Config, mended)
        problems = problems or found
        mended = deepcopy(mended)
        # From the last item of a list to its first, so that no removal moves the next one.
        for problem in reversed(found):
            _mend(mended, problem)
    return None, problems


def _mend(tree: Any, problem: Problem) -> None:  # noqa: ANN401  JSON
    """Do to `tree` what a problem's command does to the config."""
    if problem.moves:
        _mend(tree, Problem(path=problem.path, problem=problem.problem))
    *parents, last = problem.fix_path or problem.path
    for step in parents:
        if isinstance(tree, dict) and not isinstance(tree.get(step), dict | list):
            tree[step] = {}
        tree = tree[step]
    if problem.fix is not None:
        tree[last] = problem.fix
    elif isinstance(tree, dict):
        tree.pop(last, None)
    else:
        del tree[last]


def _in_order(problems: list[Problem]) -> list[Problem]:
    """So that the commands, one after the other, do what each says.

    What takes an item out of a list comes last, and from its end, because later items move up.
    """
    return [
        *(problem for problem in problems if problem.removed_item is None),
        *sorted(
            (problem for problem in problems if problem.removed_item is not None),
            key=lambda problem: problem.removed_item or 0,
            reverse=True,
        ),
    ]


def _within(path: Path, place: Path) -> bool:
    return path[: len(place)] == place or place[: len(path)] == path


def _contradictions(config: Config) -> Iterator[Problem]:
    """What is wrong although each value by itself is allowed."""
    buckets: list[tuple[Path, ThrottleSettings]] = [
        *((("usagePlans", name), plan) for name, plan in config.usage_plans.items()),
        *((("throttle", "methods", name), m) for name, m in config.throttle.methods.items()),
    ]
    for path, bucket in buckets:
        for key, value, stage in (
            ("rateLimit", bucket.rate_limit, config.throttle.rate_limit),
            ("burstLimit", bucket.burst_limit, config.throttle.burst_limit),
        ):
            if value > stage:
                yield Problem(
                    path=(*path, key),
                    problem=f"{value:,.10g} can never be reached behind the stage's {stage:,.10g}",
                    allowed=f"at most the stage's throttle.{key}, {stage:,.10g}",
                    fix=repr(stage).removesuffix(".0"),
                    concerns=((*path, key), ("throttle", key)),
                )
    yield from _too_many(config)
    for index, group in enumerate(config.waf.managed_rule_groups):
        if group.name in (RATE_RULE, RATE_METRIC):
            path = ("waf", "managedRuleGroups", index)
            yield Problem(
                path=path,
                problem=f"{shown(group.name)} is the name of the web ACL's own rule or its metric",
                concerns=(path,),
            )
    for name, plan in config.usage_plans.items():
        for client in sorted(plan.keys.keys() - set(plan.clients)):
            yield Problem(
                path=("usagePlans", name, "keys", client),
                problem=f"the plan has no client {shown(client)}",
                allowed="clients of the plan",
                concerns=(("usagePlans", name, "keys", client), ("usagePlans", name, "clients")),
            )
    lists: list[tuple[Path, Sequence[str | int]]] = [
        *((("usagePlans", n, "clients"), plan.clients) for n, plan in config.usage_plans.items()),
        *(
            (("usagePlans", name, "keys", client), numbers)
            for name, plan in config.usage_plans.items()
            for client, numbers in plan.keys.items()
        ),
        (("waf", "managedRuleGroups"), [group.name for group in config.waf.managed_rule_groups]),
        (("monitoring", "alarmEmails"), config.monitoring.alarm_emails),
    ]
    for path, names in lists:
        seen: set[str | int] = set()
        for index, item in enumerate(names):
            if item in seen:
                yield Problem(
                    path=(*path, index),
                    problem=f"{shown(item)} is listed twice",
                    concerns=((*path, index),),
                )
            seen.add(item)


def _too_many(config: Config) -> Iterator[Problem]:
    """More of something than AWS allows; the command takes the last one away."""
    plans = config.usage_plans
    last = next(reversed(plans))
    if len(plans) > MAX_USAGE_PLANS:
        yield Problem(
            path=("usagePlans",),
            problem=f"{len(plans):,} plans are more than an account may have",
            allowed=f"at most {MAX_USAGE_PLANS}",
            fix_path=("usagePlans", last),
            concerns=(("usagePlans",),),
        )
    keys = sum(1 for plan in plans.values() for _ in plan.api_keys())
    if keys > MAX_API_KEYS:
        last = next(name for name in reversed(plans) if plans[name].clients)
        yield Problem(
            path=("usagePlans",),
            problem=f"{keys:,} API keys of all clients are more than a Region may have",
            allowed=f"at most {MAX_API_KEYS:,} in all plans together",
            fix_path=("usagePlans", last, "clients", len(plans[last].clients) - 1),
            concerns=(("usagePlans",),),
        )
    if config.waf.wcu > MAX_WCU:
        groups = config.waf.managed_rule_groups
        yield Problem(
            path=("waf", "managedRuleGroups"),
            problem=f"all rules together use {config.waf.wcu:,} web ACL capacity units (WCU)",
            allowed=f"at most {MAX_WCU:,} WCU in one web ACL",
            fix_path=("waf", "managedRuleGroups", len(groups) - 1),
            concerns=(("waf", "managedRuleGroups"),),
        )
