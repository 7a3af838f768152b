"""Finds what a run of the program registered."""

import json
from collections import Counter
from typing import Any, Final

from tests.stacks import PROJECT
from tools.recorder.program import Program
from tools.recorder.resources import Resource

TABLE: Final = "dynamodb/table:Table"
FUNCTION: Final = "lambda/function:Function"
API: Final = "apigateway/restApi:RestApi"
STAGE: Final = "apigateway/stage:Stage"
LOG_GROUP: Final = "cloudwatch/logGroup:LogGroup"
ALARM: Final = "cloudwatch/metricAlarm:MetricAlarm"
WEB_ACL: Final = "wafv2/webAcl:WebAcl"


def short(resource: Resource) -> str:
    """Return the name of a resource without the project's name."""
    return resource.name.removeprefix(f"{PROJECT}-")


def find(program: Program, token: str, name: str | None = None) -> list[Resource]:
    """Return the resources of a type such as `sns/topic:Topic` by name, or those of one name."""
    return sorted(
        (
            resource
            for resource in program.resources.items
            if resource.type in (token, f"aws:{token}") and name in (None, short(resource))
        ),
        key=short,
    )


def only(program: Program, token: str, name: str | None = None) -> Resource:
    """Return the one resource of a type, or of a type and short name."""
    found = find(program, token, name)
    assert len(found) == 1, f"{len(found)} of {token} {name or ''}"
    return found[0]


def inputs(program: Program, token: str) -> dict[str, dict[str, Any]]:
    """Return the inputs of all resources of a type by their short names."""
    return {short(resource): resource.inputs for resource in find(program, token)}


def document(resource: Resource, name: str) -> Any:  # noqa: ANN401  JSON
    """Return an input that is JSON in a text."""
    return json.loads(resource.inputs[name])


def types(program: Program) -> Counter[str]:
    """Count the resources of each type, without components."""
    return Counter(resource.type for resource in program.resources.items if resource.custom)
