"""A provider that stands in for AWS and speaks the engine's own protocol.

The engine starts it as `pulumi-resource-aws` and reads the port that it prints. It gives resources
names, ids and the attributes that AWS computes, refuses properties that the SDK's class does not
take, and replaces what AWS cannot change in place. Two environment variables control it:
`PROVIDER_LOG` names a file that gets each call as a JSON line, and `PROVIDER_FAILS_AT` is a regular
expression of the URNs that it fails to create.

https://github.com/pulumi/pulumi/blob/master/proto/pulumi/provider.proto
"""

import hashlib
import importlib
import inspect
import json
import os
import re
import threading
from concurrent import futures
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tools.recorder.aws import created, looked_up

REGION: Final = "eu-central-1"
_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine writes a value that a preview does not know."""
_SECRET: Final = "4dabf18193072939515e22adb298388d"
REPLACED_BY: Final = {
    "aws:apigateway/deployment:Deployment": {"restApi", "triggers"},
    "aws:apigateway/methodSettings:MethodSettings": {"restApi", "stageName", "methodPath"},
    "aws:apigateway/stage:Stage": {"restApi", "stageName"},
    "aws:apigateway/usagePlanKey:UsagePlanKey": {"keyId", "keyType", "usagePlanId"},
    "aws:cloudwatch/dashboard:Dashboard": {"dashboardName"},
    "aws:cloudwatch/logGroup:LogGroup": {"name", "namePrefix"},
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": {"name", "logGroupName"},
    "aws:cloudwatch/metricAlarm:MetricAlarm": {"name"},
    "aws:dynamodb/table:Table": {"name", "hashKey", "rangeKey"},
    "aws:ec2/flowLog:FlowLog": {"vpcId", "trafficType", "logDestination", "iamRoleArn"},
    "aws:ec2/routeTable:RouteTable": {"vpcId"},
    "aws:ec2/routeTableAssociation:RouteTableAssociation": {"subnetId"},
    "aws:ec2/securityGroup:SecurityGroup": {"name", "description", "vpcId"},
    "aws:ec2/subnet:Subnet": {"cidrBlock", "availabilityZone", "vpcId"},
    "aws:ec2/vpc:Vpc": {"cidrBlock"},
    "aws:ec2/vpcEndpoint:VpcEndpoint": {"vpcId", "serviceName", "vpcEndpointType"},
    "aws:iam/role:Role": {"name", "path"},
    "aws:iam/rolePolicy:RolePolicy": {"role", "name"},
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": {"role", "policyArn"},
    "aws:lambda/alias:Alias": {"name", "functionName"},
    "aws:lambda/function:Function": {"name", "architectures"},
    "aws:lambda/permission:Permission": {
        *("action", "function", "principal", "qualifier", "sourceArn", "statementId")
    },
    "aws:sns/topic:Topic": {"name"},
    "aws:sns/topicSubscription:TopicSubscription": {"topic", "protocol", "endpoint"},
    "aws:wafv2/webAcl:WebAcl": {"name", "scope"},
    "aws:wafv2/webAclAssociation:WebAclAssociation": {"resourceArn", "webAclArn"},
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": {"resourceArn"},
}
"""By type: the properties that force a replacement (`ForceNew` in the AWS provider's schema).

https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service
"""
_IDENTIFIED_BY: Final = {
    "aws:apigateway/methodSettings:MethodSettings": ("restApi", "stageName", "methodPath"),
    "aws:apigateway/stage:Stage": ("restApi", "stageName"),
    "aws:apigateway/usagePlanKey:UsagePlanKey": ("keyId", "usagePlanId"),
    "aws:cloudwatch/dashboard:Dashboard": ("dashboardName",),
    "aws:cloudwatch/logGroup:LogGroup": ("name",),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": ("logGroupName", "name"),
    "aws:cloudwatch/metricAlarm:MetricAlarm": ("name",),
    "aws:iam/rolePolicy:RolePolicy": ("role", "name"),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": ("role", "policyArn"),
    "aws:lambda/alias:Alias": ("functionName", "name"),
    "aws:sns/topicSubscription:TopicSubscription": ("topic", "endpoint"),
    # These belong to one resource: deleting one removes whatever is there then.
    "aws:wafv2/webAclAssociation:WebAclAssociation": ("resourceArn",),
    "aws:wafv2/webAclLoggingConfiguration:WebAclLoggingConfiguration": ("resourceArn",),
}
"""By type: the properties by which AWS knows a resource that has no id of its own there."""
_lock = threading.Lock()


def _log(call: str, urn: str, **more: Any) -> None:
    if path := os.environ.get("PROVIDER_LOG"):
        with _lock, open(path, "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(json.dumps({"call": call, "urn": urn, **more}) + "\n")


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = json_format.MessageToDict(struct)
    return plain


def _struct(value: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(value, struct_pb2.Struct())


def _type_and_name(urn: str) -> tuple[str, str]:
    *_, types, name = urn.split("::", 3)
    return types.rpartition("$")[2], name


def _open(value: Any) -> Any:
    """Return a value without the marks of secrets."""
    if isinstance(value, dict):
        if _SECRET in value.values():
            return _open(value["value"])
        return {key: _open(item) for key, item in value.items()}
    return [_open(item) for item in value] if isinstance(value, list) else value


def _properties(type_: str) -> set[str]:
    """Return the properties that the SDK's class of a type takes."""
    module, _, name = type_.removeprefix("aws:").partition("/")
    package = importlib.import_module(f"pulumi_aws.{'lambda_' if module == 'lambda' else module}")
    parameters = inspect.signature(
        getattr(package, name.partition(":")[2])._internal_init
    ).parameters
    return {re.sub("_(.)", lambda found: found[1].upper(), name) for name in parameters}


def _secret_of(urn: str) -> str:
    """Return the value of an API key; of a plan's use of it, too."""
    return hashlib.sha256(urn.rpartition("::")[2].encode()).hexdigest()


Message = Any
"""A message of the protocol, whose classes have no types."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The calls that the engine makes, in the order in which it makes them."""

    def GetPluginInfo(self, request: Message, context: Message) -> Message:
        return plugin_pb2.PluginInfo(version="7.51.0")

    def Handshake(self, request: Message, context: Message) -> Message:
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def GetSchema(self, request: Message, context: Message) -> Message:
        return provider_pb2.GetSchemaResponse(schema="{}")

    def CheckConfig(self, request: Message, context: Message) -> Message:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Message, context: Message) -> Message:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Message, context: Message) -> Message:
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True
        )

    def Invoke(self, request: Message, context: Message) -> Message:
        response = provider_pb2.InvokeResponse()
        json_format.ParseDict(looked_up(request.tok, REGION), getattr(response, "return"))
        return response

    def Check(self, request: Message, context: Message) -> Message:
        type_, name = _type_and_name(request.urn)
        inputs, old = _plain(request.news), _plain(request.olds)
        properties = _properties(type_)
        refused = sorted(set(inputs) - properties - {"__defaults"})
        if "name" in properties and "name" not in inputs:
            prefix = inputs.get("namePrefix", f"{name}-")
            inputs["name"] = old.get("name") or f"{prefix}{request.randomSeed.hex()[:7]}"
        return provider_pb2.CheckResponse(
            inputs=_struct(inputs),
            failures=[
                provider_pb2.CheckFailure(property=one, reason=f"{type_} does not take {one}")
                for one in refused
            ],
        )

    def Diff(self, request: Message, context: Message) -> Message:
        type_, _ = _type_and_name(request.urn)
        old, new = _open(_plain(request.old_inputs)), _open(_plain(request.news))
        changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
        response = provider_pb2.DiffResponse
        return response(
            changes=response.DIFF_SOME if changed else response.DIFF_NONE,
            diffs=changed,
            replaces=[key for key in changed if key in REPLACED_BY.get(type_, ())],
        )

    def Create(self, request: Message, context: Message) -> Message:
        type_, name = _type_and_name(request.urn)
        inputs = _plain(request.properties)
        failing = os.environ.get("PROVIDER_FAILS_AT")
        if failing and not request.preview and re.search(failing, request.urn):
            context.abort(grpc.StatusCode.INTERNAL, "The provider was told to fail here.")
        id_, outputs = created(
            type_,
            name,
            _open(inputs),
            region=REGION,
            stack=request.urn.split("::")[0],
            salt=os.urandom(4).hex(),
        )
        if type_ in _IDENTIFIED_BY:
            id_ = "/".join(str(outputs[key]) for key in _IDENTIFIED_BY[type_])
        if type_ == "aws:apigateway/usagePlanKey:UsagePlanKey":
            # AWS returns the key's value here too.
            outputs["value"] = _secret_of(request.urn.replace("-plan-key-", "-key-"))
        if type_ == "aws:apigateway/apiKey:ApiKey":
            outputs["value"] = _secret_of(request.urn)
        added = {key: value for key, value in outputs.items() if key not in inputs}
        if request.preview:
            return provider_pb2.CreateResponse(
                properties=_struct({**inputs, **dict.fromkeys(added, _UNKNOWN)})
            )
        _log("create", request.urn, id=id_)
        return provider_pb2.CreateResponse(id=id_, properties=_struct({**inputs, **added}))

    def Update(self, request: Message, context: Message) -> Message:
        if not request.preview:
            _log("update", request.urn, id=request.id)
        added = {k: v for k, v in _plain(request.olds).items() if k not in request.old_inputs}
        return provider_pb2.UpdateResponse(properties=_struct({**added, **_plain(request.news)}))

    def Delete(self, request: Message, context: Message) -> Message:
        _log("delete", request.urn, id=request.id)
        return empty_pb2.Empty()

    def Cancel(self, request: Message, context: Message) -> Message:
        return empty_pb2.Empty()


if __name__ == "__main__":
    server = grpc.server(futures.ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()
