"""`python -m tools doctor`, against moto's server, or prepared answers where moto has none."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
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
def server(credentials: None) -> Iterator[MotoAccount]:
    """A server with one account and the call that moto lacks."""
    account = MotoAccount()

    def account_settings(*_: object) -> tuple[int, dict[str, str], str]:
        limit = {
            "ConcurrentExecutions": account.concurrency,
            "UnreservedConcurrentExecutions": account.unreserved,
        }
        answer = 200, {"x-amzn-requestid": "1"}, json.dumps({"AccountLimit": limit})
        return account.broken or answer

    with pytest.MonkeyPatch.context() as patch:
        path = r"{0}/2016-08-19/account-settings/?$"
        patch.setitem(lambda_urls.url_paths, path, account_settings)
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


def executions(total: int, unreserved: int, own: int = 0) -> dict[str, Any]:
    """Return what AWS answers about the executions of an account and of the stack's function."""
    limit = {"ConcurrentExecutions": total, "UnreservedConcurrentExecutions": unreserved}
    return {
        "lambda:GetAccountSettings": {"AccountLimit": limit},
        "lambda:GetFunctionConcurrency": {"ReservedConcurrentExecutions": own},
    }


THROTTLE = {
    "apigateway:GetAccount": {"throttleSettings": {"rateLimit": 10_000.0, "burstLimit": 5000}}
}


def logging_role(owner: str | None) -> dict[str, Any]:
    """Return what AWS answers about the logging role of an account; None for a deleted role."""
    tags = [{"Key": "project", "Value": PROJECT}, {"Key": "stack", "Value": owner}]
    role = {"Role": {"Tags": tags if owner != "other" else []}}
    return {
        "apigateway:GetAccount": {"cloudwatchRoleArn": "arn:aws:iam::1:role/the-role"},
        "iam:GetRole": role if owner else CallError("NoSuchEntity: no"),
    }


def others(call: str, count: int) -> dict[str, Any]:
    """Return as many plans or keys of others beside the stack's one."""
    return {f"apigateway:{call}": [{"id": "mine"}, *({"id": f"k{n}"} for n in range(count))]}


def subscribed(arn: str) -> dict[str, Any]:
    return {"sns:ListSubscriptionsByTopic": [{"Endpoint": "a@b.co", "SubscriptionArn": arn}]}


def mails(*addresses: str) -> dict[str, Any]:
    return {"monitoring": {"alarmEmails": [*addresses]}}


def methods(rate: int) -> dict[str, Any]:
    return {"throttle": {"methods": {METHODS[0]: {"rateLimit": rate, "burstLimit": 5000}}}}


def capacity(units: int | None) -> dict[str, Any]:
    unknown = CallError("WAFNonexistentItemException: no")
    return {"wafv2:DescribeManagedRuleGroup": {"Capacity": units} if units else unknown}


CONCURRENCY, GATEWAY, ROLE = (
    "function concurrency",
    "API Gateway throttle",
    "API Gateway logging role",
)
PLANS, KEYS, WCU = "usage plans", "API keys", "web ACL capacity"
ACL, MAILS = "web ACL association", "alarm e-mails"
NONE = {"function": {"reservedConcurrency": "none"}}
ALONE = {"manageApiGatewayLogging": False}
GROUPS = {"waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet", {"name": "B", "wcu": 9}]}}
OTHER_ACL = {
    "apigateway:GetRestApis": [{"id": "api1", "name": PROD.label}],
    "wafv2:GetWebACLForResource": {"WebACL": {"Name": "FMManagedWebACL", "ARN": WEB_ACL}},
}
REMOVE = f"pulumi config rm --path '{PROJECT}:waf.managedRuleGroups["
PLAN_ARN, KEY_ARN = (
    f"arn:aws:apigateway:{REGION}::/{kind}/mine" for kind in ("usageplans", "apikeys")
)
TOPIC = f"arn:aws:sns:{REGION}:123456789012:{PROJECT}-alarms-1234567"


@pytest.mark.parametrize(
    ("subject", "changes", "answers", "own", "severity", "words"),
    [
        # AWS keeps 100 executions for other functions. The stack's own reservation is free.
        (CONCURRENCY, {}, executions(200, 200), "", "ok", ["100 executions can be reserved"]),
        (
            *(CONCURRENCY, {}, executions(199, 199), "", "problem"),
            ["and 99 can be", set_command(RESERVATION, 99), "--quota-code L-B99A9384"],
        ),
        (CONCURRENCY, {}, executions(1000, 150), "", "problem", [set_command(RESERVATION, 50)]),
        (
            *(CONCURRENCY, {}, executions(50, 50), "", "problem"),
            ["0 can be", "as in new accounts", set_command(RESERVATION, "none")],
        ),
        (CONCURRENCY, {}, executions(1000, 100, 100), FUNCTION, "ok", []),
        (CONCURRENCY, {}, executions(1000, 100, 100), "", "problem", []),
        (CONCURRENCY, NONE, executions(1000, 1000), "", "ok", []),
        (
            *(CONCURRENCY, NONE, executions(10, 10), "", "warning"),
            ["about 100 requests per second", set_command("throttle.rateLimit", 100)],
        ),
        (GATEWAY, {}, THROTTLE, "", "ok", ["may use 10% of it"]),
        (
            *(GATEWAY, {"throttle": {"burstLimit": 6000}}, THROTTLE, "", "warning"),
            [set_command("throttle.burstLimit", 5000)],
        ),
        (
            *(GATEWAY, methods(20_000), THROTTLE, "", "warning"),
            [f'throttle.methods["{METHODS[0]}"].rateLimit\' 10000 --stack prod'],
        ),
        (PLANS, {}, others("GetUsagePlans", 298), PLAN_ARN, "ok", ["others have 298 of 300"]),
        (PLANS, {}, others("GetUsagePlans", 299), PLAN_ARN, "problem", ["Ask AWS for more"]),
        (KEYS, {}, others("GetApiKeys", 9_998), KEY_ARN, "ok", ["2 needed; others have 9,998"]),
        (KEYS, {}, others("GetApiKeys", 9_998), "", "problem", ["AWS does not raise this limit"]),
        (
            *(KEYS, {"usagePlans": {"basic": {"keys": {"default": [1, 2, 3]}}}}),
            *(others("GetApiKeys", 0), KEY_ARN, "ok", ["4 needed"]),
        ),
        (ROLE, {}, {"apigateway:GetAccount": {}}, "", "ok", ["this stack creates it"]),
        (
            *(ROLE, ALONE, {"apigateway:GetAccount": {}}, "", "problem"),
            ["refuses a stage that logs", set_command("manageApiGatewayLogging", "true")],
        ),
        (ROLE, {}, logging_role(None), "", "ok", ["this stack creates it"]),
        (ROLE, ALONE, logging_role(None), "", "problem", ["refuses a stage that logs"]),
        (
            *(ROLE, {}, logging_role("other"), "", "warning"),
            ["of another owner. pulumi up would", set_command("manageApiGatewayLogging", "false")],
        ),
        (ROLE, ALONE, logging_role("other"), "", "ok", ["the-role of another owner; this stack"]),
        (ROLE, {}, logging_role("prod"), "", "ok", ["uses the-role, and this stack manages it"]),
        (
            *(ROLE, {}, logging_role("dev"), "", "warning"),
            [f"the-role of stack dev of project {PROJECT}. pulumi up would replace it"],
        ),
        (ROLE, ALONE, logging_role("dev"), "", "ok", [f"stack dev of project {PROJECT}; this"]),
        (WCU, {"waf": {"enabled": False}}, {}, "", "ok", ["The stack has no web ACL."]),
        (WCU, GROUPS, capacity(749), "", "ok", ["Its rules use 1,500 "]),
        (WCU, GROUPS, capacity(750), "", "warning", ["Its rules use 1,502 ", REMOVE]),
        (WCU, GROUPS, capacity(2500), "", "problem", ["Its rules use 5,002 ", REMOVE]),
        (WCU, GROUPS, capacity(None), "", "problem", ["CommonRuleSet of AWS", f"{REMOVE}0]'"]),
        (ACL, {}, OTHER_ACL, WEB_ACL, "ok", []),
        (
            *(ACL, {}, OTHER_ACL, "", "warning"),
            ["FMManagedWebACL of another owner", set_command("waf.enabled", "false")],
        ),
        (MAILS, mails(), {}, "", "warning", ["alarms notify no one"]),
        (MAILS, mails("a@b.co"), {}, "", "ok", ["will send a@b.co a link"]),
        (
            *(MAILS, mails("a@b.co"), subscribed("PendingConfirmation"), TOPIC, "warning"),
            ["a@b.co did not confirm"],
        ),
        (MAILS, mails(), subscribed("arn:aws:sns:eu:1:t:s"), TOPIC, "ok", ["1 confirmed"]),
    ],
)
def test_the_stacks_settings_are_compared_with_the_account(
    subject: str,
    changes: dict[str, Any],
    answers: dict[str, Any],
    own: str,
    severity: str,
    words: list[str],
) -> None:
    class Prepared(Account):
        def ask(self, call: str, **_: object) -> Any:  # noqa: ANN401  JSON
            if isinstance(answers[call], CallError):
                raise answers[call]
            return answers[call]

        def ask_all(self, call: str, key: str, **_: object) -> Any:  # noqa: ANN401  JSON
            deleted = {"ResourceARN": f"{FUNCTION}-deleted", "Tags": []}  # listed for a while
            tagged = [deleted, {"ResourceARN": own or "a:b:c", "Tags": TAGS}]
            return tagged if call == "tag:GetResources" else answers[call]

    found = CHECKS[subject](Prepared(settings("prod", **changes)))

    assert found.severity == severity
    for word in words:
        assert word in f"{found.meaning}\n{found.action}"
    assert found.action.count("pulumi config") <= 1, "what fits needs no command"


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
        f"Not checked: {account.url} answers lambda:GetAccountSettings with 404, not as AWS does.",
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
