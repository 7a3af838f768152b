"""The program as a whole: what it registers and exports, refuses and warns of."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from routes import READS, ROUTES
from settings.schema import ThresholdSettings
from tests.program.conftest import EVERY_OPTION, Sent
from tests.stacks import BASE_URL, PROJECT, STACKS, deploy, run, settings
from tests.stacks.resources import FUNCTION, LOG_GROUP, TABLE, WEB_ACL, only, types
from tools.recorder import program as recorder
from tools.recorder.program import ProgramError

PROVIDER = "pulumi:providers:aws"


@pytest.mark.parametrize("stack", STACKS)
def test_every_resource_of_the_architecture_is_there(stack: str) -> None:
    expected = {
        PROVIDER: 1,
        # Data
        "aws:dynamodb/table:Table": 1,
        # Network: no gateway, no route, no way in
        "aws:ec2/vpc:Vpc": 1,
        "aws:ec2/subnet:Subnet": 2,
        "aws:ec2/routeTable:RouteTable": 1,
        "aws:ec2/routeTableAssociation:RouteTableAssociation": 2,
        "aws:ec2/vpcEndpoint:VpcEndpoint": 1,
        "aws:ec2/securityGroup:SecurityGroup": 1,
        "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": 1,
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": 1,
        "aws:ec2/flowLog:FlowLog": 1,
        # Compute
        "aws:lambda/function:Function": 1,
        # EdgeProtection
        "aws:apigateway/restApi:RestApi": 1,
        "aws:lambda/permission:Permission": len(ROUTES),
        "aws:apigateway/deployment:Deployment": 1,
        "aws:apigateway/stage:Stage": 1,
        "aws:apigateway/methodSettings:MethodSettings": 1,
        "aws:apigateway/account:Account": 1,
        "aws:apigateway/usagePlan:UsagePlan": 2,
        "aws:apigateway/apiKey:ApiKey": 2,
        "aws:apigateway/usagePlanKey:UsagePlanKey": 2,
        "aws:wafv2/webAcl:WebAcl": 1,
        "aws:wafv2/webAclAssociation:WebAclAssociation": 1,
        "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": 1,
        # Monitoring
        "aws:sns/topic:Topic": 1,
        "aws:cloudwatch/logMetricFilter:LogMetricFilter": 6,
        # An alarm for each threshold, and one more for routes that read
        "aws:cloudwatch/metricAlarm:MetricAlarm": len(ThresholdSettings.model_fields) + READS,
        "aws:cloudwatch/dashboard:Dashboard": 1,
        # Logs of the flows, the function, the API's accesses and executions, and the web ACL
        "aws:cloudwatch/logGroup:LogGroup": 5,
        # Flow logs, function, and the account's for API Gateway
        "aws:iam/role:Role": 3,
        "aws:iam/rolePolicy:RolePolicy": 2,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 1,
    }
    found = types(deploy(stack))
    differs = {one: n for one in {**found, **expected} if (n := found[one]) != expected.get(one, 0)}
    assert not differs, f"{__file__}: list {differs}"


@pytest.mark.parametrize("changes", [{}, {"stack": "prod"}, EVERY_OPTION])
def test_a_preview_shows_the_resources_and_outputs_of_the_update(changes: dict[str, Any]) -> None:
    preview, update = deploy(preview=True, **changes), deploy(**changes)
    shown, made = (
        {(r.type, r.name, r.parent, r.protect) for r in made.resources.items}
        for made in (preview, update)
    )
    assert shown == made
    assert preview.resources.exports.keys() == update.resources.exports.keys()
    assert preview.secret_exports == update.secret_exports == {"apiKeys"}


def test_the_stack_outputs() -> None:
    program = deploy("dev")
    plans = ("basic", "premium")
    keys = {
        plan: only(program, "apigateway/apiKey:ApiKey", f"key-{plan}.default") for plan in plans
    }
    assert program.resources.exports == {
        "apiUrl": f"{BASE_URL}/dev",
        "dataUrl": f"{BASE_URL}/dev/data",
        "apiKeys": {plan: {"default": key.outputs["value"]} for plan, key in keys.items()},
        "apiKeyIds": {plan: {"default": key.id} for plan, key in keys.items()},
        "usagePlanIds": {
            plan: only(program, "apigateway/usagePlan:UsagePlan", f"plan-{plan}").id
            for plan in plans
        },
        "tableName": only(program, TABLE).outputs["name"],
        "functionName": only(program, FUNCTION).outputs["name"],
        "webAclArn": only(program, WEB_ACL).outputs["arn"],
        "accessLogGroup": only(program, LOG_GROUP, "access-logs").outputs["name"],
        "alarmTopicArn": only(program, "sns/topic:Topic").outputs["arn"],
        "dashboardUrl": "https://eu-central-1.console.aws.amazon.com/cloudwatch/home"
        f"?region=eu-central-1#dashboards/dashboard/{PROJECT}-dev",
    }


@pytest.mark.parametrize(
    ("section", "switch", "output"),
    [("waf", "enabled", "webAclArn"), ("monitoring", "dashboard", "dashboardUrl")],
)
def test_the_output_of_what_is_off_is_null(section: str, switch: str, output: str) -> None:
    changes: dict[str, Any] = {section: {switch: False}}
    exports = deploy(**changes).resources.exports
    assert exports[output] is None
    assert exports.keys() == deploy("dev").resources.exports.keys()


# The provider


OWN_TAGS = {"project": PROJECT, "stack": "dev", "managed-by": "pulumi"}
EMULATOR = [{"lambda": "http://127.0.0.1:4566", "dynamodb": "http://127.0.0.1:4566"}]
ROLE = {"roleArn": "arn:aws:iam::111122223333:role/deploy", "externalId": "7"}


@pytest.mark.parametrize(
    ("config", "given"),
    [
        ({}, {}),
        ({"region": "eu-south-1"}, {"region": "eu-south-1"}),
        ({"profile": "ops"}, {"profile": "ops"}),
        (
            {"allowedAccountIds": [111122223333, "011122223333"]},
            {"allowedAccountIds": ["111122223333", "011122223333"]},
        ),
        ({"forbiddenAccountIds": ["111122223333"]}, {"forbiddenAccountIds": ["111122223333"]}),
        ({"assumeRoles": [ROLE]}, {"assumeRoles": [ROLE]}),
        ({"endpoints": EMULATOR}, {"endpoints": EMULATOR}),
        (
            {"defaultTags": {"tags": {"team": "web"}}},
            {"defaultTags": {"tags": {"team": "web", **OWN_TAGS}}},
        ),
        *(
            ({f"skip{what}": "true"}, {f"skip{what}": True})
            for what in ("CredentialsValidation", "MetadataApiCheck", "RegionValidation")
        ),
        ({"skipRequestingAccountId": "true"}, {"skipRequestingAccountId": True}),
    ],
)
def test_the_explicit_provider_gets_the_config_that_the_default_one_would(
    config: dict[str, Any], given: dict[str, Any]
) -> None:
    values = {
        name: text if isinstance(text, str) else json.dumps(text) for name, text in config.items()
    }
    usual = {
        "region": "eu-central-1",
        "defaultTags": {"tags": OWN_TAGS},
        # The SDK's own defaults.
        "skipCredentialsValidation": False,
        "skipRegionValidation": True,
    }
    inputs = only(deploy(aws=values), PROVIDER).inputs
    texts = ("region", "profile")
    found = {name: v if name in texts else json.loads(v) for name, v in inputs.items()}
    assert found == usual | given


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"accessKey": "AKIA"}, "aws:accessKey: is not a setting. Allowed: region, profile, "),
        ({"assumeRole": "{}"}, "aws:assumeRole: is not a setting (did you mean assumeRoles?)."),
        (
            {"allowedAccountIds": '["111122223333"]', "forbiddenAccountIds": '["111122223334"]'},
            "aws:forbiddenAccountIds: cannot be used together with allowedAccountIds.",
        ),
        (
            {"defaultTags": '{"tags": {"project": "x"}}'},
            "aws:defaultTags.tags.project: the name 'project' is not allowed.",
        ),
    ],
)
def test_config_that_the_provider_does_not_get_is_refused_by_name(
    config: dict[str, str], words: str
) -> None:
    with pytest.raises(ProgramError) as refused:
        run(aws=config)
    assert words in str(refused.value)
    assert len(str(refused.value).split("\n")) <= 4


def test_the_program_asks_aws_with_its_own_provider(sent: Sent) -> None:
    provider = only(run("dev"), PROVIDER)
    assert {call.tok: MessageToDict(call.args) for call in sent.calls} == {
        "aws:index/getRegion:getRegion": {},
        "aws:index/getCallerIdentity:getCallerIdentity": {},
        "aws:index/getAvailabilityZones:getAvailabilityZones": {
            "state": "available",
            # Neither Local Zones nor Wavelength Zones.
            "filters": [{"name": "zone-type", "values": ["availability-zone"]}],
        },
    }
    assert {call.provider for call in sent.calls} == {f"{provider.urn}::{provider.id}"}


@pytest.mark.parametrize("region", ["us-gov-west-1", "cn-northwest-1"])
def test_a_region_that_only_the_environment_names_is_refused_before_anything_is_registered(
    monkeypatch: pytest.MonkeyPatch, sent: Sent, region: str
) -> None:
    monkeypatch.setattr(recorder, "looked_up", lambda *_: {"region": region, "id": region})
    with pytest.raises(ProgramError) as refused:
        run()
    assert str(refused.value) == (
        f"The AWS environment's Region, {region}, is not supported. Allowed: a Region outside of "
        "China, GovCloud and isolated partitions. Fix: pulumi config set aws:region us-east-1 "
        "--stack dev"
    )
    assert {one.type for one in sent.resources} == {"pulumi:pulumi:Stack", PROVIDER}


# Errors and warnings


def test_a_config_with_errors_registers_nothing(sent: Sent) -> None:
    with pytest.raises(ProgramError, match="3 problems in the config of stack dev"):
        run(function={"timeoutSeconds": 30}, network={"cidr": "10.0.0.0/28"}, stageName="a b")
    assert {request.type for request in sent.resources} <= {"pulumi:pulumi:Stack"}


@pytest.mark.parametrize("preview", [False, True])
def test_limits_that_contradict_each_other_are_warnings_in_previews_too(preview: bool) -> None:
    warnings = deploy("prod", preview=preview).warnings
    assert [warning.partition(": ")[0] for warning in warnings] == [
        f"{PROJECT}:waf.rateLimit",
        f"{PROJECT}:waf.rateLimit",
        f"{PROJECT}:usagePlans.basic.quota.limit",
        f"{PROJECT}:usagePlans.premium.quota.limit",
    ]
    assert list(warnings) == settings("prod").warnings()
    assert deploy("dev", preview=preview).warnings == ()
