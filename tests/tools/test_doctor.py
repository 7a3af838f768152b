"""`python -m tools doctor`, against moto's server, or prepared answers where moto has none."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import botocore.session
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.loaders import create_loader
from moto.awslambda import urls as lambda_urls
from moto.server import ThreadedMotoServer

from routes import METHODS
from settings import Settings
from tests.stacks import PROJECT, settings
from tools.__main__ import main
from tools.aws import Account, CallError
from tools.doctor import CHECKS, Answer, examine

ROOT = Path(__file__).parents[2]
REGION = "eu-central-1"
PROD = settings("prod")
FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:{PROJECT}-function-1234567"
WEB_ACL = f"arn:aws:wafv2:{REGION}:123456789012:regional/webacl/mine/1"
TAGS = [{"Key": "project", "Value": PROJECT}, {"Key": "stack", "Value": "prod"}]
Capture = pytest.CaptureFixture[str]
Patch = pytest.MonkeyPatch


@dataclass
class MotoAccount:
    """What a test can set before it runs a check."""

    url: str = ""
    concurrency: int = 1000
    unreserved: int = 1000
    broken: tuple[int, dict[str, str], str] | None = None
    """An answer about its functions that is not AWS's."""

    def client(self, service: str) -> Any:  # noqa: ANN401  boto3's clients have no types
        """Return a client with which a test fills the account."""
        return boto3.client(service, endpoint_url=self.url, region_name=REGION)

    def limit_concurrency(self, total: int, unreserved: int | None = None) -> None:
        """Set the concurrency of the account's functions."""
        self.concurrency = total
        self.unreserved = total if unreserved is None else unreserved


@pytest.fixture(scope="module")
def server() -> Iterator[MotoAccount]:
    """A server with one account and the call that moto lacks, and credentials for it."""
    account = MotoAccount()

    def account_settings(*_: object) -> tuple[int, dict[str, str], str]:
        limit = {
            "ConcurrentExecutions": account.concurrency,
            "UnreservedConcurrentExecutions": account.unreserved,
        }
        answer = 200, {"x-amzn-requestid": "1"}, json.dumps({"AccountLimit": limit})
        return account.broken or answer

    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            patch.setenv(name, "/dev/null")
        path = r"{0}/2016-08-19/account-settings/?$"
        patch.setitem(lambda_urls.url_paths, path, account_settings)
        # Each of boto3's sessions reads the descriptions of services again, which takes long.
        patch.setattr(botocore.session, "create_loader", cache(create_loader))
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        _, port = server.get_host_and_port()
        account.url = f"http://127.0.0.1:{port}"
        yield account
        server.stop()


@pytest.fixture
def account(server: MotoAccount) -> MotoAccount:
    """An empty account."""
    request = Request(f"{server.url}/moto-api/reset", method="POST")  # noqa: S310
    with urlopen(request, timeout=10):  # noqa: S310
        pass
    server.limit_concurrency(1000)
    return server


def answer(account: MotoAccount, subject: str, stack: Settings = PROD) -> Answer:
    return CHECKS[subject](Account(stack, account.url))


def checked(
    subject: str, answers: dict[str, Any], own: tuple[str, ...] = (), stack: Settings = PROD
) -> Answer:
    """Return a check's answer when AWS gives these prepared answers, by call."""
    deleted = {"ResourceARN": f"{FUNCTION}-deleted", "Tags": []}  # AWS lists it for a while
    tagged = [deleted, *({"ResourceARN": arn, "Tags": TAGS} for arn in own)]

    class Prepared(Account):
        def ask(self, call: str, **_: object) -> Any:  # noqa: ANN401  JSON
            answer = answers[call]
            if isinstance(answer, CallError):
                raise answer
            return answer

        def ask_all(self, call: str, key: str, **_: object) -> Any:  # noqa: ANN401  JSON
            return tagged if call == "tag:GetResources" else answers[call]

    return CHECKS[subject](Prepared(stack))


def set_command(key: str, value: object) -> str:
    return f"pulumi config set --path {PROJECT}:{key} {value} --stack prod"


def test_a_good_account_has_no_problem(account: MotoAccount) -> None:
    found = dict(examine(PROD, account.url))

    assert {subject: answer.severity for subject, answer in found.items()} == {
        **dict.fromkeys(CHECKS, "ok"),
        "alarm e-mails": "warning",
    }
    assert found["credentials"].meaning.startswith(f"Account 123456789012, Region {REGION}, as ")
    assert all(answer.action for answer in found.values() if answer.severity != "ok")


def test_the_account_is_asked_through_the_stacks_endpoints_and_not_in_its_roles(
    account: MotoAccount,
) -> None:
    here = json.dumps([{"sts": account.url}])
    roles = json.dumps([{"roleArn": "arn:aws:iam::111122223333:role/deploy"}])
    stack = settings("prod", aws={"endpoints": here, "assumeRoles": roles})

    found = CHECKS["credentials"](Account(stack))

    assert found.severity == "warning"
    assert "Account 123456789012" in found.meaning
    assert "aws:assumeRoles are not used here" in found.meaning


RESERVATION = "function.reservedConcurrency"


def test_problems_are_printed_with_commands_and_status_1(
    account: MotoAccount, project: Path, capsys: Capture
) -> None:
    account.limit_concurrency(10)
    words = ["doctor", "--endpoint-url", account.url]

    assert main(words) == 1
    out = capsys.readouterr().out
    assert "problem  function concurrency: Stack prod reserves 100 executions, and 0 can be" in out
    assert "pulumi up would fail" in out
    assert f"\n         {set_command(RESERVATION, 'none')}\n" in out
    assert out.splitlines()[-1] == "Stack prod: 1 problem, 1 warning."

    assert main([*words, "--format", "json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["stack"], report["deployable"]) == ("prod", False)
    (problem,) = [one for one in report["findings"] if one["level"] == "problem"]
    assert problem["check"] == "function concurrency"
    assert problem["action"].startswith(set_command(RESERVATION, "none"))
    account.limit_concurrency(1000)
    assert main(words) == 0


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

    assert checked("function concurrency", answers, own=(FUNCTION,)).severity == "ok"
    assert checked("function concurrency", answers).severity == "problem"


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


@pytest.mark.parametrize(("others", "severity"), [(0, "ok"), (1, "problem")])
@pytest.mark.parametrize(
    ("subject", "call", "own", "most", "more"),
    [
        ("usage plans", "GetUsagePlans", "/usageplans/mine", 300, "Ask AWS for more"),
        ("API keys", "GetApiKeys", "/apikeys/mine", 10_000, "AWS does not raise this limit"),
    ],
)
def test_plans_and_keys_of_others_take_room(
    subject: str, call: str, own: str, most: int, more: str, others: int, severity: str
) -> None:
    there = [{"id": "mine"}, *({"id": f"k{number}"} for number in range(most - 2 + others))]
    arn = f"arn:aws:apigateway:{REGION}::{own}"

    found = checked(subject, {f"apigateway:{call}": there}, own=(arn,))

    assert found.severity == severity
    assert f"others have {most - 2 + others:,}" in found.meaning.replace(" of the account", "")
    assert (more in found.action) == (severity == "problem")


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
    found = checked("API Gateway logging role", answers, stack=stack)

    assert found.severity == severity
    assert words in found.meaning
    if severity != "ok":
        switch = set_command("manageApiGatewayLogging", "false" if manage else "true")
        assert found.action.startswith(switch)


def test_vpcs_of_others_are_counted_and_their_addresses_compared(account: MotoAccount) -> None:
    ec2 = account.client("ec2")
    ec2.create_vpc(CidrBlock="10.1.128.0/20")
    assert answer(account, "VPCs").severity == "ok"
    assert answer(account, "network overlap").severity == "warning"
    assert "(10.1.128.0/20)" in answer(account, "network overlap").meaning
    for number in range(2):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")
    tags = [{"ResourceType": "vpc", "Tags": TAGS}]
    ec2.create_vpc(CidrBlock="10.1.0.0/17", TagSpecifications=tags)

    assert answer(account, "deployed already").meaning == "Resources of the stack: 1."
    assert "has this stack's already" in answer(account, "VPCs").meaning
    assert "10.1.0.0/17" not in answer(account, "network overlap").meaning
    dev = settings("dev", network={"cidr": "10.1.0.0/20"})
    found = answer(account, "VPCs", dev)
    assert found.severity == "problem", "five of five, one of them the default VPC"
    assert "may have 5 (its service quota), and has 5" in found.meaning
    assert "(10.1.0.0/17)" in answer(account, "network overlap", dev).meaning


@pytest.mark.parametrize(("own", "severity"), [((), "warning"), ((WEB_ACL,), "ok")])
def test_another_web_acl_on_the_stage_is_a_warning(own: tuple[str, ...], severity: str) -> None:
    answers = {
        "apigateway:GetRestApis": [{"id": "api1", "name": PROD.label}],
        "wafv2:GetWebACLForResource": {"WebACL": {"Name": "FMManagedWebACL", "ARN": WEB_ACL}},
    }

    found = checked("web ACL association", answers, own=own)

    assert found.severity == severity
    if severity == "warning":
        assert "FMManagedWebACL of another owner" in found.meaning
        assert set_command("waf.enabled", "false") in found.action


GROUPS = {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet", {"name": "Bots", "wcu": 9}]}


@pytest.mark.parametrize(
    ("capacity", "severity", "words"),
    [
        (749, "ok", "Its rules use 1,500 "),
        (750, "warning", "Its rules use 1,502 "),
        (2500, "problem", "Its rules use 5,002 "),
        (None, "problem", "managed rule group AWSManagedRulesCommonRuleSet of AWS"),
    ],
)
def test_the_capacity_of_managed_rule_groups_is_what_aws_counts(
    capacity: int | None, severity: str, words: str
) -> None:
    unknown = CallError("WAFNonexistentItemException: no")
    answers = {"wafv2:DescribeManagedRuleGroup": {"Capacity": capacity} if capacity else unknown}

    found = checked("web ACL capacity", answers, stack=settings("prod", waf=GROUPS))

    assert found.severity == severity
    assert words in found.meaning
    if severity != "ok":
        assert f"pulumi config rm --path '{PROJECT}:waf.managedRuleGroups[" in found.action


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
        "alarm e-mails",
        {"sns:ListSubscriptionsByTopic": subscriptions},
        own=(topic,),
        stack=settings("prod", monitoring={"alarmEmails": wanted}),
    )

    assert found.severity == severity
    assert words in found.meaning


def deny(patch: Patch, operations: Callable[[str], bool]) -> None:
    """Let AWS deny operations."""
    real = BaseClient._make_api_call

    def call(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        if not operations(operation):
            return real(client, operation, parameters)
        ec2 = client.meta.service_model.service_name == "ec2"
        code = "UnauthorizedOperation" if ec2 else "AccessDeniedException"
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    patch.setattr(BaseClient, "_make_api_call", call)


def test_each_missing_permission_is_a_warning_that_names_it(
    account: MotoAccount, monkeypatch: Patch
) -> None:
    deny(monkeypatch, lambda operation: operation != "GetCallerIdentity")

    found = dict(examine(PROD, account.url))

    denied = {subject: one for subject, one in found.items() if one.severity == "warning"}
    named = {subject: one.meaning.rpartition(" ")[2] for subject, one in denied.items()}
    del named["alarm e-mails"]  # without topics and groups, nothing is asked
    assert named == {
        "deployed already": "tag:GetResources.",
        "function concurrency": "lambda:GetAccountSettings.",
        "API Gateway throttle": "apigateway:GET.",
        "usage plans": "apigateway:GET.",
        "API keys": "apigateway:GET.",
        "API Gateway logging role": "apigateway:GET.",
        "web ACL association": "apigateway:GET.",
        "VPCs": "ec2:DescribeVpcs.",
        "network overlap": "ec2:DescribeVpcs.",
    }
    assert denied["VPCs"].meaning.startswith("Not checked: the credentials do not permit ")
    assert {one.severity for one in found.values()} == {"ok", "warning"}


def test_without_one_permission_the_rest_is_still_checked(
    account: MotoAccount, monkeypatch: Patch
) -> None:
    deny(monkeypatch, lambda operation: operation in ("GetResources", "GetServiceQuota"))
    account.limit_concurrency(10)

    found = dict(examine(PROD, account.url))

    assert "Not checked" in found["deployed already"].meaning
    assert "may have 5 (AWS's default; the quota was not read" in found["VPCs"].meaning
    assert found["function concurrency"].severity == "problem"


def test_a_call_that_an_emulator_lacks_stops_no_other_check(
    account: MotoAccount, monkeypatch: Patch
) -> None:
    found = []
    for broken in ((404, {}, "<!doctype html>\n"), (200, {"x-amzn-requestid": "1"}, "{}")):
        monkeypatch.setattr(account, "broken", broken)
        found.append(dict(examine(PROD, account.url))["function concurrency"].meaning)

    assert found == [
        f"Not checked: {account.url} answers 404, and not as AWS does.",
        "Not checked: the answer has no 'AccountLimit'.",
    ]


CALLS = {
    call
    for module in ("aws", "doctor")
    for call in re.findall(
        r'"([a-z0-9-]+:[A-Z][a-z]\w+)"', (ROOT / f"tools/{module}.py").read_text("utf-8")
    )
}


def test_every_call_only_reads_and_the_documented_policy_permits_exactly_these() -> None:
    document = (ROOT / "docs" / "operate.md").read_text("utf-8")
    start = document.index('{\n  "Version": "2012-10-17"')
    policy = json.loads(document[start : document.index("```", start)])

    verbs = {re.split("(?<=[a-z])(?=[A-Z])", call.partition(":")[2])[0] for call in CALLS}
    assert verbs == {"Get", "List", "Describe"}
    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed == {
        "apigateway:GET" if call.startswith("apigateway:") else call for call in CALLS
    } - {"sts:GetCallerIdentity"}
