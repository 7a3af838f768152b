"""The REST API, its deployment, and the permission of its stage to invoke the function."""

import hashlib
import json
from typing import Final

import pulumi
import pulumi_aws as aws

from components.component import Component
from components.compute import Compute
from components.edge_protection.openapi import openapi, retry_after_seconds
from routes import ROUTES

_ENDPOINT_TYPE: Final = "REGIONAL"


def create_rest_api(
    parent: Component, compute: Compute
) -> tuple[aws.apigateway.RestApi, aws.apigateway.Deployment]:
    """Create the API from one OpenAPI document, and deploy it once it may invoke the function.

    A deployment is a snapshot of the API: changes of the document or of the endpoint reach callers
    only with a new one. Pulumi creates the new one before it deletes the old one, so that the stage
    always has one.
    """
    name, settings = parent.name, parent.settings
    throttle = settings.throttle
    buckets = (throttle, *throttle.methods.values(), *settings.usage_plans.values())
    retry_after = retry_after_seconds([bucket.rate_limit for bucket in buckets])
    body = compute.invoke_arn.apply(
        lambda arn: json.dumps(
            openapi(title=settings.label, invoke_arn=arn, retry_after_seconds=retry_after)
        )
    )
    api = aws.apigateway.RestApi(
        f"{name}-api",
        name=settings.label,
        body=body,
        endpoint_configuration={"types": _ENDPOINT_TYPE},
        opts=parent.child(),
    )
    # The routes of this stage, and nothing else, may invoke the function.
    permissions = [
        aws.lambda_.Permission(
            # It becomes the statement's id, which takes no dots.
            f"{name}-may-invoke-{route.verb.lower()}-{route.path_label}".replace(".", "-"),
            action="lambda:InvokeFunction",
            function=compute.function_name,
            qualifier=compute.alias_name,
            principal="apigateway.amazonaws.com",
            source_arn=pulumi.Output.concat(
                api.execution_arn, "/", settings.stage_name, "/", route.verb, route.path_pattern
            ),
            opts=parent.child(),
        )
        for route in ROUTES
    ]
    digest = body.apply(lambda text: hashlib.sha256(f"{text}{_ENDPOINT_TYPE}".encode()).hexdigest())
    deployment = aws.apigateway.Deployment(
        f"{name}-deployment",
        rest_api=api.id,
        triggers={"redeployment": digest},
        opts=parent.child(depends_on=permissions),
    )
    return api, deployment
