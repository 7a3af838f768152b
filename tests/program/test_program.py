"""The program as a whole: what it registers and exports, refuses and warns of."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

from settings.schema import parse_settings
from tools.sandbox import program as sandbox_program
from tools.sandbox.deployment import read_deployment
from tools.recorder.program import Program, ProgramError
from tests.fuzzing import examples
from tests.program.conftest import (
    BASE_URL,
    FUNCTION,
    REGION,
    STACKS,
    TABLE,
    Deploy,
    document,
    find,
    only,
    settings_of,
    types,
)

# https://github.com/pulumi/pulumi/blob/master/sdk/python/lib/pulumi/runtime/rpc.py
SECRET_MARK = "1b47061264138c4ac30d75fd1eb44270"


def identity(program: Program) -> set[tuple[str, str, str]]:
    """All that a preview shows of the resources."""
    return {(r.type, r.name, r.parent) for r in program.resources.items}


# The whole


def test_every_resource_of_the_architecture_is_there(deploy: Deploy) -> None:
    assert types(deploy("prod")) == {
        "pulumi:providers:aws": 1,
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
        "aws:lambda/permission:Permission": 1,
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
        "aws:cloudwatch/metricAlarm:MetricAlarm": 10,
        "aws:cloudwatch/dashboard:Dashboard": 1,
        # Logs of the flows, the function, the API's accesses and executions, and the web ACL
        "aws:cloudwatch/logGroup:LogGroup": 5,
        # Flow logs, function, and the account's for API Gateway
        "aws:iam/role:Role": 3,
        "aws:iam/rolePolicy:RolePolicy": 2,
        "aws:iam/rolePolicyAttachment:RolePolicyAttachment": 1,
    }


def test_both_stacks_have_the_same_resources(deploy: Deploy) -> None:
    assert types(deploy("dev")) == types(deploy("prod"))


@pytest.mark.parametrize("stack", STACKS)
def test_a_preview_shows_the_resources_of_the_update(deploy: Deploy, stack: str) -> None:
    assert identity(deploy(stack, preview=True)) == identity(deploy(stack))


def test_a_preview_of_every_option_shows_the_resources_of_the_update(deploy: Deploy) -> None:
    options: dict[str, Any] = {
        "function": {"snapStart": True},
        "throttle": {"methods": {"POST /data": {"rateLimit": 10, "burstLimit": 20}}},
        "monitoring": {"alarmEmails": ["ops@example.com"]},
        "waf": {"managedRuleGroups": ["AWSManagedRulesCommonRuleSet"]},
    }
    assert identity(deploy(preview=True, **options)) == identity(deploy(**options))


def test_the_stack_outputs(deploy: Deploy) -> None:
    program = deploy("dev")
    assert program.resources.exports == {
        "apiUrl": f"{BASE_URL}/dev",
        "dataUrl": f"{BASE_URL}/dev/data",
        "apiKeys": {
            plan: {
                "default": only(program, "apigateway/apiKey:ApiKey", f"key-{plan}.default").outputs[
                    "value"
                ]
            }
            for plan in ("basic", "premium")
        },
        "apiKeyIds": {
            plan: {"default": only(program, "apigateway/apiKey:ApiKey", f"key-{plan}.default").id}
            for plan in ("basic", "premium")
        },
        "usagePlanIds": {
            plan: only(program, "apigateway/usagePlan:UsagePlan", f"plan-{plan}").id
            for plan in ("basic", "premium")
        },
        "tableName": only(program, TABLE).outputs["name"],
        "functionName": only(program, FUNCTION).outputs["name"],
        "webAclArn": only(program, "wafv2/webAcl:WebAcl").outputs["arn"],
        "alarmTopicArn": only(program, "sns/topic:Topic").outputs["arn"],
        "dashboardUrl": f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
        "#dashboards/dashboard/throttled-api-dev",
    }


def test_a_preview_has_the_same_stack_outputs(deploy: Deploy) -> None:
    preview = deploy("dev", preview=True)
    assert preview.resources.exports.keys() == deploy("dev").resources.exports.keys()
    assert preview.secret_exports == {"apiKeys"}


# Keys


def key_values(program: Program) -> list[str]:
    return [key.outputs["value"] for key in find(program, "apigateway/apiKey:ApiKey")]


def test_the_values_of_keys_are_in_one_secret_output_and_nowhere_else(deploy: Deploy) -> None:
    program = deploy("dev")
    assert program.secret_exports == {"apiKeys"}
    others = [
        *(value for name, value in program.resources.exports.items() if name != "apiKeys"),
        *(resource.inputs for resource in program.resources.items),
    ]
    assert len(key_values(program)) == 2
    for value in key_values(program):
        assert value in json.dumps(program.resources.exports["apiKeys"])
        assert value not in json.dumps(others)


@pytest.fixture
def component_outputs(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """What each component of the next run registers as its outputs, by the component's class."""
    registered: dict[str, dict[str, str]] = {}

    def keep(
        self: mocks.MockMonitor, request: resource_pb2.RegisterResourceOutputsRequest
    ) -> object:
        component = request.urn.split("::")[2].rpartition(":")[2]
        registered[component] = {name: str(value) for name, value in request.outputs.items()}
        return None

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResourceOutputs", keep)
    return registered


def test_components_keep_the_values_of_keys_secret_too(
    deploy: Deploy, component_outputs: dict[str, dict[str, str]]
) -> None:
    program = deploy("dev", anew=True)
    keys = component_outputs["EdgeProtection"].pop("apiKeys")
    assert SECRET_MARK in keys, "not marked as a secret"
    for value in key_values(program):
        assert value in keys
        assert value not in str(component_outputs)


def test_components_register_what_they_offer(
    deploy: Deploy, component_outputs: dict[str, dict[str, str]]
) -> None:
    deploy("dev", anew=True)
    del component_outputs["Stack"]
    assert {component: set(outputs) for component, outputs in component_outputs.items()} == {
        "Data": {"tableName", "tableArn"},
        "Network": {
            *("vpcId", "subnetIds", "functionSecurityGroupId", "defaultSecurityGroupId"),
        },
        "Compute": {"functionName", "invokeArn"},
        "EdgeProtection": {
            *("apiName", "apiUrl", "dataUrl", "stageName", "accessLogGroupName"),
            *("usagePlanIds", "apiKeyIds", "apiKeys", "webAclArn"),
        },
        "Monitoring": {"topicArn", "dashboardUrl"},
    }


def test_each_client_of_each_plan_has_a_key_of_its_own(deploy: Deploy) -> None:
    plan = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 3}}
    program = deploy(
        usagePlans={
            "basic": {**plan, "clients": ["acme", "default"]},
            "premium": {**plan, "clients": []},
            "trial": {**plan, "clients": ["acme"]},
        }
    )
    keys = {key.id: key.name for key in find(program, "apigateway/apiKey:ApiKey")}
    plans = {plan.id: plan.name for plan in find(program, "apigateway/usagePlan:UsagePlan")}
    links = find(program, "apigateway/usagePlanKey:UsagePlanKey")
    assert sorted((plans[k.inputs["usagePlanId"]], keys[k.inputs["keyId"]]) for k in links) == [
        ("throttled-api-plan-basic", "throttled-api-key-basic.acme"),
        ("throttled-api-plan-basic", "throttled-api-key-basic.default"),
        ("throttled-api-plan-trial", "throttled-api-key-trial.acme"),
    ]
    assert {link.inputs["keyType"] for link in links} == {"API_KEY"}
    values = program.resources.exports["apiKeys"]
    assert {name: sorted(clients) for name, clients in values.items()} == {
        "basic": ["acme", "default"],
        "premium": [],
        "trial": ["acme"],
    }
    assert len(set(key_values(program))) == 3


# The provider


def test_the_provider_is_given_region_profile_and_tags(deploy: Deploy) -> None:
    program = deploy("dev", aws={"region": "eu-south-1", "profile": "ops"})
    provider = only(program, "pulumi:providers:aws")
    assert provider.inputs["region"] == "eu-south-1"
    assert provider.inputs["profile"] == "ops"
    assert document(provider, "defaultTags") == {
        "tags": {"project": "throttled-api", "stack": "dev", "managed-by": "pulumi"}
    }
    assert "profile" not in only(deploy("dev"), "pulumi:providers:aws").inputs


def test_what_the_program_asks_aws_it_asks_with_its_own_provider(
    deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, object] = {}
    providers: set[str] = set()
    original = sandbox_program._Aws.call

    def call(
        self: sandbox_program._Aws, args: mocks.MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        asked[args.token] = args.args
        providers.add(args.provider)
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "call", call)
    provider = only(deploy("dev", anew=True), "pulumi:providers:aws")
    assert asked == {
        "aws:index/getRegion:getRegion": {},
        "aws:index/getCallerIdentity:getCallerIdentity": {},
        "aws:index/getAvailabilityZones:getAvailabilityZones": {
            "state": "available",
            # Neither Local Zones nor Wavelength Zones.
            "filters": [{"name": "zone-type", "values": ["availability-zone"]}],
        },
    }
    assert providers == {f"{provider.urn}::{provider.id}"}


# Errors and warnings


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The types of all resources that are registered from now on, failed runs included."""
    seen: list[str] = []
    original = sandbox_program._Aws.new_resource

    def new_resource(
        self: sandbox_program._Aws, args: mocks.MockResourceArgs
    ) -> tuple[str | None, dict[str, Any]]:
        seen.append(args.typ)
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "new_resource", new_resource)
    return seen


def test_a_config_with_errors_registers_nothing(deploy: Deploy, registered: list[str]) -> None:
    with pytest.raises(ProgramError) as refused:
        deploy(function={"timeoutSeconds": 30}, network={"cidr": "10.0.0.0/28"}, stageName="a b")
    assert str(refused.value) == (
        "3 problems in the config of stack dev; nothing was changed.\n"
        "  throttled-api:stageName: 'a b' does not fit. Allowed: letters, digits, - and _.\n"
        "      pulumi config set --path throttled-api:stageName live --stack dev\n"
        "  throttled-api:function.timeoutSeconds: 30 is above what is allowed. Allowed: a whole "
        "number from 1 to 29.\n"
        "      pulumi config set --path throttled-api:function.timeoutSeconds 29 --stack dev\n"
        "  throttled-api:network.cidr: '10.0.0.0/28' is too small for its subnets. Allowed: an "
        "IPv4 network from /16 to /25, as each zone gets an eighth of it.\n"
        "      pulumi config set --path throttled-api:network.cidr 10.0.0.0/25 --stack dev"
    )
    assert registered == []


def test_a_good_config_registers_resources_meanwhile(deploy: Deploy, registered: list[str]) -> None:
    program = deploy("dev", anew=True)
    assert sorted(registered) == sorted(resource.type for resource in program.resources.items), (
        "or the test above would pass whatever happens"
    )


def test_a_secret_in_the_config_is_an_error() -> None:
    with pytest.raises(ProgramError) as refused:
        sandbox_program.run_program(
            {"throttled-api:throttle": "hush"},
            project="throttled-api",
            stack="dev",
            secret_keys=["throttled-api:throttle"],
        )
    assert str(refused.value) == (
        "1 problem in the config of stack dev; nothing was changed.\n"
        "  throttled-api:throttle: is stored as a secret, which a preview cannot show.\n"
        "      pulumi config rm --path throttled-api:throttle --stack dev"
    )


@pytest.fixture
def one_zone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A Region with a single zone, until the patch is undone."""
    original = sandbox_program._Aws.call

    def call(
        self: sandbox_program._Aws, args: mocks.MockCallArgs
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        if "getAvailabilityZones" in args.token:
            return {"names": ["xx-a"], "id": "xx"}, []
        return original(self, args)

    monkeypatch.setattr(sandbox_program._Aws, "call", call)
    return monkeypatch


TOO_FEW_ZONES = r"^network\.availabilityZones: 2 is more than this Region has \(xx-a\)\."


def test_a_region_with_too_few_zones_is_an_error(
    deploy: Deploy, one_zone: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramError, match=TOO_FEW_ZONES):
        deploy("dev", anew=True)


def test_a_run_after_a_failed_one_is_as_good_as_new(
    deploy: Deploy, one_zone: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProgramError, match=TOO_FEW_ZONES):
        deploy("dev", anew=True)
    one_zone.undo()
    assert identity(deploy("dev", anew=True)) == identity(deploy("dev"))


@pytest.mark.parametrize("preview", [False, True])
def test_prod_is_warned_of_its_limits_in_previews_too(deploy: Deploy, preview: bool) -> None:
    warnings = deploy("prod", preview=preview).warnings
    assert [warning.partition(": ")[0] for warning in warnings] == [
        "throttled-api:waf.rateLimit",
        "throttled-api:waf.rateLimit",
        "throttled-api:usagePlans.basic.quota.limit",
        "throttled-api:usagePlans.premium.quota.limit",
    ]
    assert list(warnings) == settings_of("prod").warnings()


def test_dev_is_not_warned(deploy: Deploy) -> None:
    assert deploy("dev").warnings == ()


# Limits


@pytest.mark.parametrize("stack", STACKS)
def test_the_limits_of_the_resources_are_those_of_the_settings(deploy: Deploy, stack: str) -> None:
    assert read_deployment(deploy(stack).resources).limits == settings_of(stack).limits()


rates = st.floats(0.001, 1_000_000) | st.integers(1, 1_000_000) | st.just("0.5")
buckets = st.fixed_dictionaries({"rateLimit": rates, "burstLimit": st.integers(1, 1_000_000)})
quotas = st.fixed_dictionaries(
    {"limit": st.integers(1, 2**31 - 1)},
    optional={"period": st.sampled_from(["DAY", "WEEK", "MONTH"])},
)
client_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,9}", fullmatch=True)
limits = st.fixed_dictionaries(
    {
        "throttle": st.fixed_dictionaries(
            {"rateLimit": st.just(1_000_000), "burstLimit": st.just(1_000_000)},
            optional={"methods": st.fixed_dictionaries({"POST /data": buckets})},
        ),
        "usagePlans": st.dictionaries(
            client_names,
            st.builds(
                lambda bucket, quota, clients: {**bucket, "quota": quota, "clients": clients},
                buckets,
                quotas,
                st.lists(client_names, unique=True, max_size=3),
            ),
            min_size=1,
            max_size=3,
        ),
        "waf": st.fixed_dictionaries(
            {
                "enabled": st.booleans(),
                "rateLimit": st.integers(10, 2_000_000_000),
                "windowSeconds": st.sampled_from([60, 120, 300, 600]),
                "aggregateBy": st.sampled_from(["IP", "FORWARDED_IP"]),
            }
        ),
        "function": st.fixed_dictionaries(
            {
                "reservedConcurrency": st.integers(1, 100_000) | st.just("none"),
                "snapStart": st.booleans(),
            }
        ),
    }
)


@examples(8)
@given(changes=limits)
def test_the_limits_of_any_config_are_enforced_as_they_are_set(
    environment: None, changes: dict[str, Any]
) -> None:
    handed = {f"throttled-api:{name}": json.dumps(value) for name, value in changes.items()}
    program = sandbox_program.run_program(handed, project="throttled-api", stack="dev")
    set_ = parse_settings(handed, project="throttled-api", stack="dev").limits()
    assert read_deployment(program.resources).limits == set_
