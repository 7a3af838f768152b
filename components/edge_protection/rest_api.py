"""The REST API, its deployment, and the permission of its stage to invoke the function."""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Final

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.edge_protection.openapi import openapi, retry_after_seconds
from routes import ROUTES
from settings.schema import Settings

_ENDPOINT_TYPE: Final = "REGIONAL"


def create_rest_api(
    component: Component, name: str, settings: Settings, invoke_arn: pulumi.Input[str]
) -> tuple[aws.apigateway.RestApi, pulumi.Output[str]]:
    """Create the API from one OpenAPI document. Return both."""
    throttle, plans = settings.throttle, settings.usage_plans
    buckets = (throttle, *throttle.methods.values(), *plans.values())
    retry_after = retry_after_seconds([bucket.rate_limit for bucket in buckets])
    body = pulumi.Output.from_input(invoke_arn).apply(
        lambda arn: json.dumps(
            openapi(title=settings.label, invoke_arn=arn, retry_after_seconds=retry_after)
        )
    )
    api = aws.apigateway.RestApi(
        f"{name}-api",
        name=settings.label,
        body=body,
        endpoint_configuration={"types": _ENDPOINT_TYPE},
        opts=component.child(),
    )
    return api, body


def permit_invocations(
    component: Component,
    name: str,
    settings: Settings,
    api: aws.apigateway.RestApi,
    function_name: pulumi.Input[str],
    alias_name: pulumi.Input[str] | None,
) -> Iterator[aws.lambda_.Permission]:
    """Allow the routes of this stage, and nothing else, to invoke the function."""
    for route in ROUTES:
        yield aws.lambda_.Permission(
            # It becomes the statement's id, which takes no dots.
            f"{name}-may-invoke-{route.verb.lower()}-{route.path_label}".replace(".", "-"),
            action="lambda:InvokeFunction",
            function=function_name,
            qualifier=alias_name,
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.concat(
                api.execution_arn, "/", settings.stage_name, "/", route.verb, route.path_pattern
            ),
            opts=component.child(),
        )


def deploy(
    component: Component,
    name: str,
    api: aws.apigateway.RestApi,
    body: pulumi.Output[str],
    permissions: Iterable[aws.lambda_.Permission],
) -> aws.apigateway.Deployment:
    """Deploy the API's document once it may invoke the function that the document names.

    A deployment is a snapshot of the API: changes of the document or of the endpoint reach callers
    only with a new one. Pulumi creates the new one before it deletes the old one, so that the stage
    always has one.
    """
    return aws.apigateway.Deployment(
        f"{name}-deployment",
        rest_api=api.id,
        triggers={
            "redeployment": body.apply(
                lambda text: hashlib.sha256(f"{text}{_ENDPOINT_TYPE}".encode()).hexdigest()
            )
        },
        opts=component.child(depends_on=list(permissions)),
    )
