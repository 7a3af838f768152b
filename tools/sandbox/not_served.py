"""What changes what callers see on AWS, and not in the sandbox."""

from collections.abc import Iterator
from typing import Final

from tools.recorder.resources import Properties, Resources

_SERVICES: Final = ("apigateway/", "apigatewayv2/", "cloudfront/", "dynamodb/", "lambda/", "wafv2/")
"""Services whose resources change what callers see."""
_SERVED: Final = frozenset(
    {
        *("apigateway/account", "apigateway/apiKey", "apigateway/deployment"),
        *("apigateway/methodSettings", "apigateway/restApi", "apigateway/stage"),
        *("apigateway/usagePlan", "apigateway/usagePlanKey", "dynamodb/table", "lambda/alias"),
        *("lambda/function", "lambda/permission", "wafv2/webAcl", "wafv2/webAclAssociation"),
        "wafv2/webAclLoggingConfiguration",
    }
)
"""Types of these services that are served, or that callers do not notice."""
_INPUTS: Final = {
    "apigateway/restApi": (
        *("policy", "binaryMediaTypes", "minimumCompressionSize", "disableExecuteApiEndpoint"),
    ),
    "apigateway/stage": ("cacheClusterEnabled", "canarySettings", "clientCertificateId"),
    "lambda/function": ("layers", "fileSystemConfig"),
}
"""Inputs of served types that are not served."""


def not_served(resources: Resources, document: Properties, key_schemes: set[str]) -> Iterator[str]:
    """Yield names of what is not served.

    The security schemes named `key_schemes` ask for an API key.
    """
    for one in resources.items:
        kind = one.type.removeprefix("aws:").partition(":")[0]
        if one.custom and kind.startswith(_SERVICES) and kind not in _SERVED:
            yield f"{kind} {one.name}"
        for name in _INPUTS.get(kind, ()):
            if one.inputs.get(name):
                yield f"{name} of {kind} {one.name}"
        if kind == "apigateway/methodSettings" and one.inputs["settings"].get("cachingEnabled"):
            yield f"cache of {one.inputs['methodPath']}"
    for name in document.get("components", {}).get("securitySchemes", {}):
        if name not in key_schemes:
            yield f"authorizer {name}"
    if "x-amazon-apigateway-policy" in document:
        yield "the API's resource policy"
