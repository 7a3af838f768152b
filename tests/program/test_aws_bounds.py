"""Whatever the config, AWS takes what goes to it, and names are unique.

botocore ships AWS's models of its API. The provider's names are AWS's but for case and `RENAMED`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import botocore.session
import pytest
from botocore.exceptions import UnknownServiceError
from botocore.model import (
    ListShape,
    MapShape,
    OperationNotFoundError,
    Shape,
    StructureShape,
)
from hypothesis import Phase, example, given
from hypothesis import settings as settings_of_test
from hypothesis import strategies as st

from settings import parse_settings
from settings.json_schema import Node, json_schema
from settings.schema import Config
from tests.fuzzing import examples
from tests.settings.configs import Tree, stack_config
from tests.stacks.resources import find
from tools.recorder.program import Program, ProgramError, run_program
from tools.sandbox.deployment import read_deployment

CALLS: Final = {
    "aws:apigateway/account:Account": "apigateway UpdateAccount",
    "aws:apigateway/methodSettings:MethodSettings": "apigateway UpdateStage",
    "aws:cloudwatch/dashboard:Dashboard": "cloudwatch PutDashboard",
    "aws:cloudwatch/logGroup:LogGroup": "logs CreateLogGroup PutRetentionPolicy",
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": "logs PutMetricFilter",
    "aws:cloudwatch/metricAlarm:MetricAlarm": "cloudwatch PutMetricAlarm",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "ec2 CreateSecurityGroup",
    "aws:ec2/flowLog:FlowLog": "ec2 CreateFlowLogs",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "ec2 AssociateRouteTable",
    "aws:ec2/vpc:Vpc": "ec2 CreateVpc ModifyVpcAttribute",
    "aws:iam/rolePolicy:RolePolicy": "iam PutRolePolicy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "iam AttachRolePolicy",
    "aws:lambda/function:Function": "lambda CreateFunction PutFunctionConcurrency",
    "aws:lambda/permission:Permission": "lambda AddPermission",
    "aws:sns/topicSubscription:TopicSubscription": "sns Subscribe",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "ec2 AuthorizeSecurityGroupEgress",
    "aws:wafv2/webAcl:WebAcl": "wafv2 CreateWebACL",
    "aws:wafv2/webAclAssociation:WebAclAssociation": "wafv2 AssociateWebACL",
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": "wafv2 "
    "PutLoggingConfiguration",
}
"""Service and operations that take a resource's inputs, where they are not Create and its type."""
RENAMED: Final = {
    "attributes": "AttributeDefinitions",
    "assumeRolePolicy": "AssumeRolePolicyDocument",
    "quotaSettings": "quota",
    "throttleSettings": "throttle",
    "policy": "PolicyDocument",
    "role": "RoleName",
    "function": "FunctionName",
    "pattern": "filterPattern",
    "metricTransformation": "metricTransformations",
    "reservedConcurrentExecutions": "ReservedConcurrentExecutions",
}
NAMES: Final = {
    # Pulumi adds 8 characters to a logical name. The models allow ARNs where these are names.
    "aws:dynamodb/table:Table": ("TableName", 255),
    "aws:lambda/function:Function": ("FunctionName", 64),
    "aws:iam/role:Role": ("RoleName", 64),
    "aws:iam/rolePolicy:RolePolicy": ("PolicyName", 128),
    "aws:cloudwatch/logGroup:LogGroup": ("logGroupName", 512),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("AlarmName", 255),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": ("filterName", 512),
    "aws:ec2/securityGroup:SecurityGroup": ("GroupName", 255),
    "aws:sns/topic:Topic": ("Name", 256),
    "aws:wafv2/webAcl:WebAcl": ("Name", 128),
}
"""What AWS calls a resource's name, and how long it may be."""


_model = cache(botocore.session.get_session().get_service_model)


@cache
def _inputs(service: str, operation: str) -> StructureShape:
    try:
        shape = _model(service).operation_model(operation).input_shape
    except (UnknownServiceError, OperationNotFoundError):
        pytest.fail(
            f"{__file__}: in CALLS, write what AWS calls the operation {operation} of {service}",
            pytrace=False,
        )
    assert shape
    return shape


def _member(shape: StructureShape, name: str) -> Shape | None:
    members = {known.lower(): member for known, member in shape.members.items()}
    return members.get(name.lower()) or members.get(RENAMED.get(name, "").lower())


def beyond(shape: Shape, value: Any, place: str) -> Iterator[str]:  # noqa: ANN401  JSON
    """Yield where a value is beyond the bounds of its shape."""
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for name, item in value.items():
            if member := _member(shape, name):
                yield from beyond(member, item, f"{place}.{name}")
    elif isinstance(shape, ListShape) and isinstance(value, list):
        yield from _outside(shape, len(value), place)
        for item in value:
            yield from beyond(shape.member, item, f"{place}[]")
    elif isinstance(shape, ListShape) and isinstance(value, dict):  # such as names and values
        for pair in value.items():
            for member, text in zip(shape.member.members.values(), pair, strict=False):
                yield from beyond(member, text, f"{place}.{pair[0]}")
    elif isinstance(shape, MapShape) and isinstance(value, dict):
        for name, item in value.items():
            yield from beyond(shape.key, name, f"{place}.{name}")
            yield from beyond(shape.value, item, f"{place}.{name}")
    elif isinstance(value, str) and shape.type_name == "string":
        yield from _outside(shape, len(value), place)
        if enum := shape.metadata.get("enum"):
            if value not in enum:
                yield f"{place}: {value!r} is not one of {enum}"
        elif not re.search(shape.metadata.get("pattern", ""), value):
            yield f"{place}: {value!r} does not match {shape.metadata['pattern']}"
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _outside(shape, value, place)
        if shape.type_name == "integer" and not -(2**31) <= value < 2**31:
            yield f"{place}: {value} has more than 32 bits"


def _outside(shape: Shape, size: float, place: str) -> Iterator[str]:
    low, high = shape.metadata.get("min", size), shape.metadata.get("max", size)
    if not low <= size <= high:
        yield f"{place}: {size} is outside of {low} to {high}"


def faults(program: Program) -> list[str]:
    """Return everything in a program that AWS's API does not take."""
    found = []
    for resource in program.resources.items:
        if not resource.custom or resource.type.startswith("pulumi:"):
            continue
        module, _, kind = re.split("[/:]", resource.type.removeprefix("aws:"))
        service, *operations = CALLS.get(resource.type, f"{module} Create{kind}").split()
        given: dict[str, Any] = dict(resource.inputs)
        shapes = [_inputs(service, operation) for operation in operations]
        if resource.type in NAMES:
            name, longest = NAMES[resource.type]
            physical = str(resource.outputs["name"])
            given[name] = physical + "0" * 19 if "namePrefix" in given else physical
            if len(given[name]) > longest:
                found.append(f"{resource.name}: the name is longer than {longest}")
        for shape in shapes:
            found += beyond(shape, given, resource.name)
        # https://docs.aws.amazon.com/general/latest/gr/aws_tagging.html
        for key, value in resource.inputs.get("tags", {}).items():
            if not re.fullmatch("[A-Za-z0-9 _.:/=+@-]{1,128}", key) or not re.fullmatch(
                "[A-Za-z0-9 _.:/=+@-]{0,256}", value
            ):
                found.append(f"{resource.name}: tag {key}={value}")
    return found


def longest(pattern: str) -> str | None:
    """Return the longest text of one letter that a pattern takes."""
    return next((t for n in range(300, 0, -1) if re.fullmatch(pattern, t := "x" * n)), None)


def extremes(node: Node) -> st.SearchStrategy[Any]:
    """Return the least, the greatest and the longest values of a setting."""
    match node:
        case {"anyOf": forms}:
            return st.one_of(*(extremes(form) for form in forms if form != {"type": "null"}))
        case {"enum": choices}:
            return st.sampled_from(choices)
        case {"const": choice}:
            return st.just(choice)
        case {"minimum": low, "maximum": high}:
            return st.sampled_from([low, high])
        case {"format": "ipv4network"}:
            return st.sampled_from(["10.0.0.0/16", "255.255.255.128/25"])
        case {"pattern": pattern}:
            return st.sampled_from([t]) if (t := longest(pattern)) else st.just("o@e.co")
        case {"properties": settings, **others}:
            kept = {n: extremes(s) for n, s in settings.items() if "deprecated" not in s}
            needed = others.get("required", [])
            return st.fixed_dictionaries(
                {n: s for n, s in kept.items() if n in needed},
                optional={n: s for n, s in kept.items() if n not in needed},
            )
        case {"additionalProperties": values, "propertyNames": names}:
            return st.dictionaries(extremes(names), extremes(values), min_size=1, max_size=2)
        case {"type": "array", "items": item}:
            return st.lists(extremes(item), max_size=1)
    return st.booleans()


def agreeing(tree: Tree) -> Tree:
    """Return a config whose settings do not contradict each other."""
    tree.setdefault("stageName", "s")
    tree.setdefault("throttle", {}).update(rateLimit=1_000_000, burstLimit=1_000_000)
    tree.setdefault("waf", {})["sourceRateLimit"] = 2_000_000_000
    for plan in tree.get("usagePlans", {}).values():
        plan.pop("keys", None)
    return tree


PLAN: dict[str, Any] = {"rateLimit": 1, "burstLimit": 1, "quota": {"limit": 1000}}
# Names that become equal without case, hyphens, or the separator between plan and client.
ALIKE = {
    "a": {**PLAN, "clients": ["b-c", "b", "B", "b-2", "b_2", "2"], "keys": {"b": [1, 2]}},
    "A": {**PLAN, "clients": ["b"]},
    "a-b": {**PLAN, "clients": ["c", "2"]},
    "key-a": {**PLAN, "clients": ["b"]},
}


def twice(things: Iterable[Any]) -> list[Any]:
    """Return what is there more than once."""
    return [thing for thing, count in Counter(things).items() if count > 1]


def assert_that_names_are_unique(program: Program) -> None:
    resources = program.resources.items
    assert not twice(resource.urn for resource in resources)
    # Where the program gives no physical name, Pulumi makes one from the logical name.
    assert not twice((resource.type, resource.name) for resource in resources)
    for name in ("name", "namePrefix", "dashboardName", "endpoint"):
        named = [resource for resource in resources if name in resource.inputs]
        assert not twice((resource.type, resource.inputs[name]) for resource in named)
    filters = find(program, "cloudwatch/logMetricFilter:LogMetricFilter")
    metrics = [resource.inputs["metricTransformation"] for resource in filters]
    assert not twice((metric["namespace"], metric["name"]) for metric in metrics)
    for acl in find(program, "wafv2/webAcl:WebAcl"):
        rules = acl.inputs["rules"]
        assert not twice(rule["name"] for rule in rules)
        assert not twice(rule["priority"] for rule in rules)
        shown = [rule["visibilityConfig"]["metricName"] for rule in [acl.inputs, *rules]]
        assert not twice(shown)
        # https://docs.aws.amazon.com/waf/latest/APIReference/API_VisibilityConfig.html
        assert all(re.fullmatch("[A-Za-z0-9_-]{1,128}", name) for name in shown)
    for board in find(program, "cloudwatch/dashboard:Dashboard"):
        assert re.fullmatch("[A-Za-z0-9_-]{1,255}", board.inputs["dashboardName"])
        body = board.inputs.get("dashboardBody")
        for widget in json.loads(body)["widgets"] if isinstance(body, str) else ():  # a preview
            assert not twice(map(json.dumps, widget["properties"].get("metrics", [])))


LARGEST: Final[Tree] = {
    "stageName": "s" * 128,
    "usagePlans": {
        "x" * 64: {"rateLimit": 1e6, "burstLimit": 10**6, "quota": {"limit": 2**31 - 1}}
    },
    "waf": {
        "aggregateBy": "FORWARDED_IP",
        "forwardedHeader": "x" * 40,
        "rateLimit": 2_000_000_000,
        "managedRuleGroups": [{"name": "x" * 128, "vendorName": "v" * 128, "wcu": 1}],
    },
    "function": {"snapStart": True},
    "monitoring": {"alarmEmails": ["o@e.co"]},
}


# Without shrinking, which would run the program hundreds of times.
@settings_of_test(examples(6), phases=(Phase.explicit, Phase.generate))
@given(
    tree=extremes(json_schema(Config)),
    stack=st.sampled_from(["s" * 100, "a", "a." * 50]),
    project=st.sampled_from(["p" * 38, "p", "_-"]),
)
@example(tree=LARGEST, stack="s" * 100, project="p" * 38)
@example(tree={}, stack="a", project="p")
def test_aws_takes_every_text_and_number(tree: Tree, stack: str, project: str) -> None:
    given_config = stack_config(agreeing(tree), stack, project=project, region="eu-central-1")
    program = run_program(given_config)
    assert faults(program) == []
    assert_that_names_are_unique(program)
    assert read_deployment(program.resources).limits == parse_settings(given_config).limits()


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize(
    "tree",
    [
        {"usagePlans": ALIKE, "monitoring": {"alarmEmails": ["a@b.cd", "A@b.cd", "a::b@c.de"]}},
        *(
            {"waf": {"managedRuleGroups": groups}}
            for groups in (
                [{"name": "Rate", "vendorName": "F5", "wcu": 1}],
                [{"name": "x" * n, "wcu": 1} for n in (128, 127)],
            )
        ),
    ],
)
def test_names_that_are_alike_make_resources_of_their_own(tree: Tree, preview: bool) -> None:
    assert_that_names_are_unique(run_program(stack_config(tree), preview=preview))


@pytest.mark.parametrize("project", ["p" * 39, "my.app", "caf\u00e9"])
def test_a_project_whose_name_does_not_fit_into_aws_names_is_refused(project: str) -> None:
    with pytest.raises(ProgramError) as refused:
        run_program(stack_config({}, project=project))
    assert str(refused.value) == (
        f"Pulumi.yaml: the project's name '{project}' is not allowed: the names of its roles and "
        "functions in AWS begin with it. Allowed: 1 to 38 letters, digits, - and _."
    )
