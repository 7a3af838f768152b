"""The checks of an account, against moto's server, or prepared answers where moto has none."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from routes import METHODS
from settings import Settings
from tests.stacks import PROJECT, settings
from tests.tools.doctor.conftest import REGION, MotoAccount
from tools.aws import Account, CallError
from tools.doctor import checks
from tools.doctor.checks import Answer
from tools.doctor.command import CHECKS

ROOT = Path(__file__).parents[3]
PROD = settings("prod")
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:{PROJECT}-function-1234567"

WEB_ACL = f"arn:aws:wafv2:{REGION}:123456789012:regional/webacl/mine/1"


def answer(account: MotoAccount, subject: str, stack: Settings = PROD) -> Answer:
    return CHECKS[subject](Account(stack, account.url))


def checked(
    check: Callable[[Account], Answer],
    answers: dict[str, Any],
    own: tuple[str, ...] = (),
    stack: Settings = PROD,
) -> Answer:
    """Return a check's answer when AWS gives these prepared answers, by call."""
    tags = [{"Key": "project", "Value": PROJECT}, {"Key": "stack", "Value": "prod"}]
    deleted = {"ResourceARN": f"{FUNCTION}-deleted", "Tags": []}  # AWS lists it for a while
    tagged = [deleted, *({"ResourceARN": arn, "Tags": tags} for arn in own)]

    class Prepared(Account):
        def ask(self, call: str, **_: object) -> Any:  # noqa: ANN401  JSON
            answer = answers[call]
            if isinstance(answer, CallError):
                raise answer
            return answer

        def ask_all(self, call: str, key: str, **_: object) -> Any:  # noqa: ANN401  JSON
            return tagged if call == "tag:GetResources" else answers[call]

    return check(Prepared(stack))


def set_command(key: str, value: object) -> str:
    return f"pulumi config set --path {PROJECT}:{key} {value} --stack prod"


RESERVATION = "function.reservedConcurrency"


@pytest.mark.parametrize(
    ("total", "unreserved", "severity", "can_be", "fix"),
    [
        (1000, 1000, "ok", 900, None),
        (200, 200, "ok", 100, None),
        (199, 199, "problem", 99, 99),
        (1000, 150, "problem", 50, 50),
        (50, 50, "problem", 0, "none"),
    ],
)
def test_a_reservation_leaves_a_hundred_executions_to_others(
    account: MotoAccount, total: int, unreserved: int, severity: str, can_be: int, fix: object
) -> None:
    account.limit_concurrency(total, unreserved)

    found = answer(account, "function concurrency")

    assert found.severity == severity
    if fix:
        assert f"reserves 100 executions, and {can_be} can be" in found.meaning
        assert ("as in new accounts" in found.meaning) == (total <= 100)
        assert found.action.startswith(set_command(RESERVATION, fix))
        assert "--quota-code L-B99A9384" in found.action


def test_without_a_reservation_a_small_account_is_a_warning(account: MotoAccount) -> None:
    none = settings("prod", function={"reservedConcurrency": "none"})
    account.limit_concurrency(10)
    small = answer(account, "function concurrency", none)
    account.limit_concurrency(1000)

    assert small.severity == "warning", "it can be deployed, and is slow"
    assert "about 100 requests per second" in small.meaning
    assert set_command("throttle.rateLimit", 100) in small.action
    assert answer(account, "function concurrency", none).severity == "ok"


def test_the_stacks_own_reservation_does_not_count_against_it() -> None:
    limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 100}
    answers = {
        "lambda:GetAccountSettings": {"AccountLimit": limit},
        "lambda:GetFunctionConcurrency": {"ReservedConcurrentExecutions": 100},
    }

    assert checked(checks.concurrency, answers, own=(FUNCTION,)).severity == "ok"
    assert checked(checks.concurrency, answers).severity == "problem"


@pytest.mark.parametrize(
    ("changes", "subject", "severity", "words"),
    [
        (
            {"throttle": {"burstLimit": 6000}},
            "API Gateway throttle",
            "warning",
            set_command("throttle.burstLimit", 5000),
        ),
        (
            {"throttle": {"methods": {METHODS[0]: {"rateLimit": 20_000, "burstLimit": 5000}}}},
            "API Gateway throttle",
            "warning",
            f'throttle.methods["{METHODS[0]}"].rateLimit\' 10000 --stack prod',
        ),
        (
            {"network": {"availabilityZones": 6}},
            "Availability Zones",
            "problem",
            set_command("network.availabilityZones", 3),
        ),
        (
            {"usagePlans": {"basic": {"keys": {"default": [1, 2, 3]}}}},
            "API keys",
            "ok",
            "4 needed; others have 0 of 10,000.",
        ),
        ({"waf": {"enabled": False}}, "web ACL capacity", "ok", "The stack has no web ACL."),
    ],
)
def test_the_stacks_settings_are_compared_with_the_account(
    account: MotoAccount, changes: dict[str, Any], subject: str, severity: str, words: str
) -> None:
    found = answer(account, subject, settings("prod", **changes))

    assert found.severity == severity
    assert words in found.meaning + found.action
    assert found.action.count("pulumi config") <= 1, "what fits needs no command"


def test_plans_and_keys_of_others_take_room(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = account.client("apigateway")
    for number in range(3):
        gateway.create_usage_plan(name=f"other-{number}")
        gateway.create_api_key(name=f"other-{number}")
    gateway.create_usage_plan(name="mine", tags={"project": PROJECT, "stack": "prod"})

    assert answer(account, "usage plans").meaning.startswith("2 needed; others have ")
    assert answer(account, "API keys").meaning == "2 needed; others have 3 of 10,000."
    monkeypatch.setattr(checks, "MAX_USAGE_PLANS", 4)
    monkeypatch.setattr(checks, "MAX_API_KEYS", 4)
    assert answer(account, "usage plans").severity == "problem"
    assert answer(account, "API keys").severity == "problem"
    assert "AWS does not raise this limit" in answer(account, "API keys").action


@pytest.mark.parametrize(
    ("owner", "manage", "severity", "words"),
    [
        (None, True, "ok", "this stack creates it"),
        (None, False, "problem", "refuses a stage that logs"),
        ("deleted", True, "ok", "this stack creates it"),
        ("deleted", False, "problem", "refuses a stage that logs"),
        ("other", True, "warning", "uses the-role of another owner. pulumi up would replace it"),
        ("other", False, "ok", "the-role of another owner; this stack leaves it alone"),
        ("prod", True, "ok", "uses the-role, and this stack manages it"),
        ("dev", True, "warning", f"the-role of stack dev of project {PROJECT}. pulumi up would"),
        ("dev", False, "ok", f"the-role of stack dev of project {PROJECT}; this stack leaves"),
    ],
)
def test_the_accounts_logging_role_is_not_taken_from_the_stack_that_manages_it(
    owner: str | None, manage: bool, severity: str, words: str
) -> None:
    tags = [{"Key": "project", "Value": PROJECT}, {"Key": "stack", "Value": owner}]
    arn = {"cloudwatchRoleArn": "arn:aws:iam::1:role/the-role"} if owner else {}
    role = {"Role": {"Tags": tags}} if owner != "other" else {"Role": {}}
    answers = {
        "apigateway:GetAccount": arn,
        "iam:GetRole": CallError("NoSuchEntity: no") if owner == "deleted" else role,
    }

    stack = settings("prod", manageApiGatewayLogging=manage)
    found = checked(checks.logging_role, answers, stack=stack)

    assert found.severity == severity
    assert words in found.meaning
    if severity != "ok":
        switch = set_command("manageApiGatewayLogging", "false" if manage else "true")
        assert found.action.startswith(switch)


def test_vpcs_are_counted_and_their_addresses_compared(account: MotoAccount) -> None:
    ec2 = account.client("ec2")
    ec2.create_vpc(CidrBlock="10.1.128.0/20")
    assert answer(account, "VPCs").severity == "ok"
    assert answer(account, "network overlap").severity == "warning"
    assert "(10.1.128.0/20)" in answer(account, "network overlap").meaning
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")

    found = answer(account, "VPCs")

    assert found.severity == "problem", "five of five, one of them the default VPC"
    assert "may have 5 (its service quota), and has 5" in found.meaning


def test_the_stacks_own_vpc_does_not_count_against_it(account: MotoAccount) -> None:
    ec2 = account.client("ec2")
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")
    tags = [{"Key": "project", "Value": PROJECT}, {"Key": "stack", "Value": "prod"}]
    ec2.create_vpc(
        CidrBlock="10.1.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": tags}]
    )

    assert answer(account, "deployed already").meaning == "Resources of the stack: 1."
    assert answer(account, "VPCs").severity == "ok"
    assert answer(account, "network overlap").severity == "ok"
    other = settings("dev", network={"cidr": "10.1.0.0/16"})
    assert answer(account, "VPCs", other).severity == "problem"
    assert answer(account, "network overlap", other).severity == "warning"


@pytest.mark.parametrize(("own", "severity"), [((), "warning"), ((WEB_ACL,), "ok")])
def test_another_web_acl_on_the_stage_is_a_warning(own: tuple[str, ...], severity: str) -> None:
    answers = {
        "apigateway:GetRestApis": [{"id": "api1", "name": PROD.label}],
        "wafv2:GetWebACLForResource": {"WebACL": {"Name": "FMManagedWebACL", "ARN": WEB_ACL}},
    }

    found = checked(checks.web_acl_association, answers, own=own)

    assert found.severity == severity
    if severity == "warning":
        assert "FMManagedWebACL of another owner" in found.meaning
        assert set_command("waf.enabled", "false") in found.action


GROUPS = {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet", {"name": "Bots", "wcu": 9}]}


@pytest.mark.parametrize(
    ("capacity", "severity"), [(700, "ok"), (749, "ok"), (750, "warning"), (2500, "problem")]
)
def test_the_capacity_of_managed_rule_groups_is_what_aws_counts(
    capacity: int, severity: str
) -> None:
    stack = settings("prod", waf=GROUPS)
    answers = {"wafv2:DescribeManagedRuleGroup": {"Capacity": capacity}}

    found = checked(checks.web_acl_capacity, answers, stack=stack)

    assert (found.severity, PROD.waf.wcu) == (severity, 2)
    assert f"Its rules use {2 + 2 * capacity:,} " in found.meaning


def test_a_managed_rule_group_that_aws_does_not_know_is_a_problem() -> None:
    answers = {"wafv2:DescribeManagedRuleGroup": CallError("WAFNonexistentItemException: no")}

    found = checked(checks.web_acl_capacity, answers, stack=settings("prod", waf=GROUPS))

    assert found.severity == "problem"
    assert "managed rule group AWSManagedRulesCommonRuleSet of AWS" in found.meaning
    assert "pulumi config rm --path 'fixture-api:waf.managedRuleGroups[0]'" in found.action


ARN = "arn:aws:sns:eu:1:t:s"


@pytest.mark.parametrize(
    ("wanted", "subscribed", "severity", "words"),
    [
        ([], {}, "warning", "alarms notify no one"),
        (["a@b.co"], {}, "ok", "will send a@b.co a link"),
        (["a@b.co"], {"a@b.co": "PendingConfirmation"}, "warning", "a@b.co did not confirm"),
        (["a@b.co"], {"a@b.co": ARN}, "ok", "1 confirmed"),
        ([], {"pager@b.co": ARN}, "ok", "1 confirmed"),
    ],
)
def test_addresses_for_alarms_must_be_confirmed(
    wanted: list[str], subscribed: dict[str, str], severity: str, words: str
) -> None:
    topic = f"arn:aws:sns:{REGION}:123456789012:{PROJECT}-alarms-1234567"
    subscriptions = [
        {"Endpoint": address, "SubscriptionArn": arn} for address, arn in subscribed.items()
    ]

    found = checked(
        checks.recipients,
        {"sns:ListSubscriptionsByTopic": subscriptions},
        own=(topic,),
        stack=settings("prod", monitoring={"alarmEmails": wanted}),
    )

    assert found.severity == severity
    assert words in found.meaning


CALLS = {
    call
    for file in (ROOT / "tools/aws.py", ROOT / "tools/doctor/checks.py")
    for call in re.findall(r'"([a-z0-9-]+:[A-Z][a-z]\w+)"', file.read_text("utf-8"))
}


def test_every_call_only_reads() -> None:
    verbs = {re.split("(?<=[a-z])(?=[A-Z])", call.partition(":")[2])[0] for call in CALLS}

    assert verbs == {"Get", "List", "Describe"}


def test_the_documented_policy_permits_exactly_the_calls() -> None:
    document = (ROOT / "docs" / "operate.md").read_text("utf-8")
    start = document.index('{\n  "Version": "2012-10-17"')
    policy = json.loads(document[start : document.index("```", start)])

    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed == {
        "apigateway:GET" if call.startswith("apigateway:") else call for call in CALLS
    } - {"sts:GetCallerIdentity"}
