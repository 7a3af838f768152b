"""Whether an account can carry a stack, asked of moto's server."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from settings.schema import Settings
from operations.cli import main
from tools.doctor.account import ACTIONS, Account
from tools.doctor.alarm_checks import RECIPIENTS, recipients
from tools.doctor.api_checks import (
    ASSOCIATION,
    CAPACITY,
    KEYS,
    LOGGING,
    PLANS,
    THROTTLE,
    waf_rules,
    web_acl_association,
    web_acl_capacity,
)
from tools.doctor.examine import CHECKS, CREDENTIALS, DEPLOYED, examine
from tools.doctor.finding import Finding, Level
from tools.doctor.function_checks import CONCURRENCY, concurrency
from tools.doctor.network_checks import COUNT, OVERLAP, ZONES
from operations.stacks import stack_settings
from tests.tools.operations.conftest import ROOT
from tests.tools.operations.moto_account import REGION, MotoAccount, moto_account

NONE_RESERVED = (
    "pulumi config set --path throttled-api:function.reservedConcurrency none --stack prod"
)


@pytest.fixture(scope="module")
def server() -> Iterator[MotoAccount]:
    with pytest.MonkeyPatch.context() as patch, moto_account(patch) as account:
        yield account


@pytest.fixture
def account(server: MotoAccount) -> MotoAccount:
    """A new account."""
    server.reset()
    return server


def settings_with(**sections: dict[str, object] | bool) -> Settings:
    """Stack prod with changes, such as `function={"reserved_concurrency": None}`."""
    settings = stack_settings("prod")
    changed = {
        name: getattr(settings, name).model_copy(update=value) if isinstance(value, dict) else value
        for name, value in sections.items()
    }
    return settings.model_copy(update=changed)


def found(account: MotoAccount, settings: Settings | None = None) -> dict[str, Finding]:
    findings = examine(settings or stack_settings("prod"), account.url)
    return {one.check: one for one in findings}


def test_a_good_account_has_no_problem(account: MotoAccount) -> None:
    findings = found(account)

    levels = {name: one.level for name, one in findings.items()}
    assert levels == dict.fromkeys([CREDENTIALS, *CHECKS, OVERLAP], Level.OK) | {
        RECIPIENTS: Level.WARNING
    }
    assert findings[CREDENTIALS].meaning.startswith(f"Account {account.id}, Region {REGION}, as ")
    assert all(one.action for one in findings.values() if one.level is not Level.OK)


def test_a_new_account_with_ten_executions_cannot_have_prod_and_is_told_what_to_set(
    account: MotoAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    account.limit_concurrency(10)

    status = main(["doctor", "--stack", "prod", "--endpoint-url", account.url])

    output = capsys.readouterr().out
    assert status == 1
    assert "problem  function concurrency: This account runs at most 10 executions" in output
    assert "AWS keeps 100 unreserved: not even one can be reserved" in output
    assert "pulumi up would fail" in output
    assert NONE_RESERVED in output
    assert "--quota-code L-B99A9384" in output
    assert "1 problem" in output.splitlines()[-1]


def test_what_the_doctor_says_to_set_makes_the_problem_go(account: MotoAccount) -> None:
    account.limit_concurrency(10)

    finding = found(account, settings_with(function={"reserved_concurrency": None}))[CONCURRENCY]

    assert finding.level is Level.WARNING, "it can be deployed, and is slow"
    assert "about 100 requests per second" in finding.meaning


@pytest.mark.parametrize(
    ("total", "unreserved", "level"),
    [
        (1000, 1000, Level.OK),
        (200, 200, Level.OK),
        (199, 199, Level.PROBLEM),
        (1000, 150, Level.PROBLEM),
        (50, 50, Level.PROBLEM),
    ],
)
def test_a_reservation_leaves_a_hundred_executions_to_others(
    account: MotoAccount, total: int, unreserved: int, level: Level
) -> None:
    account.limit_concurrency(total, unreserved)

    finding = found(account)[CONCURRENCY]

    assert finding.level is level
    if unreserved == 150:
        assert "and 50 can be" in finding.meaning
        assert finding.action.startswith(NONE_RESERVED.replace("none", "50"))


def test_what_the_stack_has_reserved_already_is_its_own() -> None:
    settings = stack_settings("prod")
    arn = f"arn:aws:lambda:{REGION}:123456789012:function:throttled-api-function-1234567"
    limit = {"ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 100}

    (finding,) = concurrency(
        stubbed(
            settings,
            own=[arn],
            answers=[
                ("lambda", "get_account_settings", {"AccountLimit": limit}),
                ("lambda", "get_function_concurrency", {"ReservedConcurrentExecutions": 100}),
            ],
        ),
        settings,
    )

    assert finding.level is Level.OK


def test_a_stage_above_its_account_is_warned_of(account: MotoAccount) -> None:
    finding = found(account, settings_with(throttle={"burst_limit": 6000}))[THROTTLE]

    assert finding.level is Level.WARNING
    assert finding.action.splitlines()[0] == (
        "pulumi config set --path throttled-api:throttle.burstLimit 5000 --stack prod"
    )


def test_plans_and_keys_of_others_take_room(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = account.client("apigateway")
    for number in range(3):
        gateway.create_usage_plan(name=f"other-{number}")
        gateway.create_api_key(name=f"other-{number}")
    mine = {"project": "throttled-api", "stack": "prod", "managed-by": "pulumi"}
    gateway.create_usage_plan(name="mine", tags=mine)

    assert found(account)[PLANS].meaning.startswith("2 needed; others have ")
    assert found(account)[KEYS].meaning == "2 needed; others have 3 of 10,000."
    monkeypatch.setattr("tools.doctor.api_checks.MAX_USAGE_PLANS", 4)
    monkeypatch.setattr("tools.doctor.api_checks.MAX_API_KEYS", 4)
    assert found(account)[PLANS].level is Level.PROBLEM
    assert found(account)[KEYS].level is Level.PROBLEM
    assert "AWS raises this for nobody" in found(account)[KEYS].action


@pytest.mark.parametrize(
    ("role", "manage", "level", "words"),
    [
        (None, True, Level.OK, "this stack makes it"),
        (None, False, Level.PROBLEM, "refuses a stage that logs"),
        ("somebody-elses", True, Level.WARNING, "Something else has set it"),
        ("somebody-elses", False, Level.OK, "leaves it alone"),
        ("throttled-api-gateway-logs-role-1a2b3c4", True, Level.OK, "of this project"),
    ],
)
def test_the_accounts_logging_role_is_not_taken_from_others(
    account: MotoAccount, role: str | None, manage: bool, level: Level, words: str
) -> None:
    if role:
        value = f"arn:aws:iam::123456789012:role/{role}"
        operation = {"op": "replace", "path": "/cloudwatchRoleArn", "value": value}
        account.client("apigateway").update_account(patchOperations=[operation])

    finding = found(account, settings_with(manage_api_gateway_logging=manage))[LOGGING]

    assert finding.level is level
    assert words in finding.meaning
    if level is not Level.OK:
        fix = "true" if not manage else "false"
        assert f"throttled-api:manageApiGatewayLogging {fix} --stack prod" in finding.action


def test_vpcs_are_counted_and_compared_by_their_addresses(account: MotoAccount) -> None:
    ec2 = account.client("ec2")
    ec2.create_vpc(CidrBlock="10.1.128.0/20")
    assert found(account)[OVERLAP].level is Level.WARNING
    assert "(10.1.128.0/20)" in found(account)[OVERLAP].meaning
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")

    finding = found(account)[COUNT]

    assert finding.level is Level.PROBLEM, "five of five, one of them the default VPC"
    assert "has 5 VPCs and may have 5 (its service quota)" in finding.meaning


def test_the_stacks_own_vpc_is_nobody_elses(account: MotoAccount) -> None:
    ec2 = account.client("ec2")
    for number in range(3):
        ec2.create_vpc(CidrBlock=f"10.{100 + number}.0.0/16")
    tags = {"project": "throttled-api", "stack": "prod"}
    specification = {
        "ResourceType": "vpc",
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }
    ec2.create_vpc(CidrBlock="10.1.0.0/16", TagSpecifications=[specification])

    findings = found(account)

    assert findings[DEPLOYED].meaning == "1 resources of the stack."
    assert findings[COUNT].level is Level.OK
    assert findings[OVERLAP].level is Level.OK
    other = stack_settings("dev").model_copy(update={"network": stack_settings("prod").network})
    assert found(account, other)[COUNT].level is Level.PROBLEM, "for another stack it is"


def test_a_region_with_fewer_zones_than_the_stack_spans_is_a_problem(account: MotoAccount) -> None:
    finding = found(account, settings_with(network={"availability_zones": 6}))[ZONES]

    assert finding.level is Level.PROBLEM
    assert finding.action == (
        "pulumi config set --path throttled-api:network.availabilityZones 3 --stack prod"
    )


def test_another_web_acl_on_the_stage_is_warned_of(account: MotoAccount) -> None:
    gateway, waf = account.client("apigateway"), account.client("wafv2")
    api = gateway.create_rest_api(name="throttled-api-prod")["id"]
    root = gateway.get_resources(restApiId=api)["items"][0]["id"]
    gateway.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    gateway.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
    gateway.create_deployment(restApiId=api, stageName="prod")
    assert found(account)[ASSOCIATION].level is Level.OK
    acl = waf.create_web_acl(
        Name="FMManagedWebACL",
        Scope="REGIONAL",
        DefaultAction={"Allow": {}},
        VisibilityConfig={
            "SampledRequestsEnabled": True,
            "CloudWatchMetricsEnabled": True,
            "MetricName": "m",
        },
    )["Summary"]["ARN"]
    stage = f"arn:aws:apigateway:{REGION}::/restapis/{api}/stages/prod"
    waf.associate_web_acl(WebACLArn=acl, ResourceArn=stage)

    finding = found(account)[ASSOCIATION]

    assert finding.level is Level.WARNING
    assert "FMManagedWebACL, which is not this stack's" in finding.meaning
    settings = stack_settings("prod")
    answers = [
        ("apigateway", "get_rest_apis", {"items": [{"id": api, "name": "throttled-api-prod"}]}),
        ("wafv2", "get_web_acl_for_resource", {"WebACL": _acl(acl)}),
    ]
    (own,) = web_acl_association(stubbed(settings, own=[acl], answers=answers), settings)
    assert own.level is Level.OK


def _acl(arn: str) -> dict[str, object]:
    config = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    return {
        "Name": "mine",
        "Id": "1",
        "ARN": arn,
        "DefaultAction": {"Allow": {}},
        "VisibilityConfig": config,
    }


@pytest.mark.parametrize(
    ("capacity", "level"),
    [(2, Level.OK), (1500, Level.OK), (1501, Level.WARNING), (5001, Level.PROBLEM)],
)
def test_the_web_acls_capacity_is_what_aws_counts(capacity: int, level: Level) -> None:
    settings = stack_settings("prod")
    answers = [("wafv2", "check_capacity", {"Capacity": capacity})]

    (finding,) = web_acl_capacity(stubbed(settings, answers=answers), settings)

    assert finding.level is level


def test_the_rules_that_are_counted_are_the_stacks(account: MotoAccount) -> None:
    groups = [{"name": "AWSManagedRulesCommonRuleSet", "vendor_name": "AWS", "wcu": 700}]
    waf = type(stack_settings("prod").waf).model_validate(
        {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"], "aggregateBy": "FORWARDED_IP"}
    )
    settings = stack_settings("prod").model_copy(update={"waf": waf})

    rate, group = waf_rules(settings)

    assert rate["Statement"] == {
        "RateBasedStatement": {
            "Limit": 2000,
            "EvaluationWindowSec": 300,
            "AggregateKeyType": "FORWARDED_IP",
            "ForwardedIPConfig": {
                "HeaderName": "X-Forwarded-For",
                "FallbackBehavior": "MATCH",
            },
        }
    }
    assert group["Statement"] == {
        "ManagedRuleGroupStatement": {"VendorName": "AWS", "Name": groups[0]["name"]}
    }
    # botocore checks the rules against WAF's own model before it sends them.
    assert (
        found(account, settings)[CAPACITY].meaning == "Its rules use 702 of 5,000 capacity units."
    )


@pytest.mark.parametrize(
    ("wanted", "subscribed", "expected"),
    [
        ([], {}, (Level.WARNING, "nobody hears")),
        (["a@b.co"], {}, (Level.OK, "will send a@b.co a link")),
        (["a@b.co"], {"a@b.co": "PendingConfirmation"}, (Level.WARNING, "did not confirm")),
        (["a@b.co"], {"a@b.co": "arn:aws:sns:eu:1:t:s"}, (Level.OK, "1 confirmed")),
        ([], {"pager@b.co": "arn:aws:sns:eu:1:t:s"}, (Level.OK, "1 confirmed")),
    ],
)
def test_alarm_mails_must_be_confirmed(
    wanted: list[str], subscribed: dict[str, str], expected: tuple[Level, str]
) -> None:
    settings = settings_with(monitoring={"alarm_emails": wanted})
    topic = f"arn:aws:sns:{REGION}:123456789012:throttled-api-alarms-1234567"
    subscriptions = [
        {"Endpoint": address, "SubscriptionArn": arn} for address, arn in subscribed.items()
    ]
    answers = [("sns", "list_subscriptions_by_topic", {"Subscriptions": subscriptions})]

    (finding,) = recipients(stubbed(settings, own=[topic], answers=answers), settings)

    assert finding.level is expected[0]
    assert expected[1] in finding.meaning


def test_each_missing_permission_is_a_warning_that_names_it(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    real = BaseClient._make_api_call

    def deny(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        if operation == "GetCallerIdentity":
            return real(self, operation, parameters)
        ec2 = self.meta.service_model.service_name == "ec2"
        code = "UnauthorizedOperation" if ec2 else "AccessDeniedException"
        raise ClientError({"Error": {"Code": code, "Message": "no"}}, operation)

    monkeypatch.setattr(BaseClient, "_make_api_call", deny)

    findings = examine(stack_settings("prod"), account.url)

    assert {one.level for one in findings} == {Level.OK, Level.WARNING}
    named = {one.check: one.meaning for one in findings if one.level is Level.WARNING}
    for check, action in {
        DEPLOYED: "tag:GetResources",
        CONCURRENCY: "lambda:GetAccountSettings",
        THROTTLE: "apigateway:GET",
        PLANS: "apigateway:GET",
        KEYS: "apigateway:GET",
        LOGGING: "apigateway:GET",
        CAPACITY: "wafv2:CheckCapacity",
        ASSOCIATION: "apigateway:GET",
        COUNT: "ec2:DescribeVpcs",
        ZONES: "ec2:DescribeAvailabilityZones",
    }.items():
        assert named[check] == f"Not checked: the credentials do not permit {action}."


def test_without_the_permission_to_see_its_own_resources_the_rest_is_still_checked(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.client import BaseClient
    from botocore.exceptions import ClientError

    real = BaseClient._make_api_call

    def deny(self: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:  # noqa: ANN401
        if operation == "GetResources":
            raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, operation)
        return real(self, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", deny)
    account.limit_concurrency(10)

    findings = found(account)

    assert findings[DEPLOYED].level is Level.WARNING
    assert findings[CONCURRENCY].level is Level.PROBLEM


def test_wrong_credentials_are_one_problem_and_end_the_checks(
    account: MotoAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    (finding,) = examine(stack_settings("prod"), account.url)

    assert finding.check == CREDENTIALS
    assert finding.level is Level.PROBLEM
    assert "Unable to locate credentials" in finding.meaning or "Partial" in finding.meaning


def test_a_profile_that_is_not_there_is_one_problem(account: MotoAccount) -> None:
    settings = stack_settings("prod").model_copy(update={"profile": "nowhere"})

    (finding,) = examine(settings, account.url)

    assert "nowhere" in finding.meaning
    assert finding.level is Level.PROBLEM


def test_no_region_is_one_problem(account: MotoAccount) -> None:
    settings = stack_settings("prod").model_copy(update={"region": None})

    (finding,) = examine(settings, account.url)

    assert finding.action == "pulumi config set aws:region eu-central-1 --stack prod"


def test_an_account_that_cannot_be_reached_is_one_problem() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "a")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "b")
        patch.setattr("tools.doctor.account._CONFIG", None)
        patch.setenv("AWS_MAX_ATTEMPTS", "1")
        (finding,) = examine(stack_settings("prod"), "http://127.0.0.1:1")

    assert finding.level is Level.PROBLEM
    assert "Could not connect" in finding.meaning


def test_the_json_report_has_all_of_it(
    account: MotoAccount, capsys: pytest.CaptureFixture[str]
) -> None:
    account.limit_concurrency(10)

    status = main(["doctor", "--format", "json", "--endpoint-url", account.url])

    document = json.loads(capsys.readouterr().out)
    assert status == 1
    assert (document["stack"], document["deployable"]) == ("prod", False)
    problem = next(one for one in document["findings"] if one["level"] == "problem")
    assert problem["check"] == CONCURRENCY
    assert problem["action"].startswith(NONE_RESERVED)
    account.limit_concurrency(1000)
    assert main(["doctor", "--format", "json", "--endpoint-url", account.url]) == 0
    assert json.loads(capsys.readouterr().out)["deployable"] is True


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--stack", "nowhere"], "error: There is no Pulumi.nowhere.yaml; stacks with a config"),
        (["--endpoint-url", "moto"], "error: --endpoint-url moto: is no http or https address."),
    ],
)
def test_bad_input_is_one_line_and_exit_status_2(
    arguments: list[str], error: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *arguments]) == 2

    said = capsys.readouterr().err
    assert said.startswith(error)
    assert len(said.splitlines()) == 1


def test_every_call_only_reads() -> None:
    verbs = {operation.split("_")[0] for _, operation in ACTIONS}

    assert verbs == {"get", "list", "describe", "check"}


def test_the_documented_policy_permits_exactly_what_is_asked() -> None:
    document = (ROOT / "docs" / "operate.md").read_text()
    start = document.index('{\n  "Version": "2012-10-17"')
    policy = json.loads(document[start : document.index("```", start)])

    allowed = {action for statement in policy["Statement"] for action in statement["Action"]}
    assert allowed == set(ACTIONS.values()) - {"sts:GetCallerIdentity"}


def stubbed(
    settings: Settings,
    *,
    own: list[str] | None = None,
    answers: Sequence[tuple[str, str, object]],
) -> Account:
    """An account that gives prepared answers, where moto has none."""
    tags = [{"Key": "project", "Value": settings.project}, {"Key": "stack", "Value": "prod"}]
    mine = [{"ResourceARN": arn, "Tags": tags} for arn in own or []]
    tagged = ("resourcegroupstaggingapi", "get_resources", {"ResourceTagMappingList": mine})
    clients: dict[str, Any] = {}
    for service, operation, answer in [tagged, *answers]:
        if service not in clients:
            client = boto3.client(
                service,
                region_name=REGION,
                aws_access_key_id="testing",
                aws_secret_access_key="testing",
            )
            clients[service] = (client, Stubber(client))
            clients[service][1].activate()
        clients[service][1].add_response(operation, answer)
    account = Account(settings=settings, region=REGION, session=boto3.Session())
    return replace(account, _clients={name: client for name, (client, _) in clients.items()})
