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
from concurrent import futures
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import grpc
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from tools.recorder.aws import created, looked_up

REGION: Final = "eu-central-1"
_UNKNOWN: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""How the engine writes a value that a preview does not know."""
_SECRET: Final = "4dabf18193072939515e22adb298388d"
"""A key of the mapping in which the engine wraps a secret."""
_FIXED: Final = {
    "Alias": ("functionName name", ""),
    "Dashboard": ("dashboardName", ""),
    "Deployment": ("", "restApi triggers"),
    "FlowLog": ("", "vpcId trafficType logDestination iamRoleArn"),
    "Function": ("", "name architectures"),
    "LogGroup": ("name", "namePrefix"),
    "LogMetricFilter": ("logGroupName name", ""),
    "MethodSettings": ("restApi stageName methodPath", ""),
    "MetricAlarm": ("name", ""),
    "Permission": ("", "action function principal qualifier sourceArn statementId"),
    "Role": ("", "name path"),
    "RolePolicy": ("role name", ""),
    "RolePolicyAttachment": ("role policyArn", ""),
    "RouteTable": ("", "vpcId"),
    "RouteTableAssociation": ("", "subnetId"),
    "SecurityGroup": ("", "name description vpcId"),
    "Stage": ("restApi stageName", ""),
    "Subnet": ("", "cidrBlock availabilityZone vpcId"),
    "Table": ("", "name hashKey rangeKey"),
    "Topic": ("", "name"),
    "TopicSubscription": ("topic endpoint", "protocol"),
    "UsagePlanKey": ("keyId usagePlanId", "keyType"),
    "Vpc": ("", "cidrBlock"),
    "VpcEndpoint": ("", "vpcId serviceName vpcEndpointType"),
    "WebAcl": ("", "name scope"),
    # These belong to one resource: deleting one removes whatever is there then.
    "WebAclAssociation": ("resourceArn", "webAclArn"),
    "WebAclLoggingConfiguration": ("resourceArn", ""),
}
"""By type: the properties by which AWS knows a resource that has no id of its own there, and the
others that AWS cannot change in place (`ForceNew` in the AWS provider's schema).

https://github.com/hashicorp/terraform-provider-aws/tree/main/internal/service
"""


def replaced_by(type_: str) -> set[str]:
    """Return the properties of a type whose change replaces the resource."""
    return {*" ".join(_FIXED.get(type_.rpartition(":")[2], ())).split()}


def _log(call: str, urn: str, id_: str) -> None:
    with Path(os.environ["PROVIDER_LOG"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"call": call, "urn": urn, "id": id_}) + "\n")


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    plain: dict[str, Any] = json_format.MessageToDict(struct)
    return plain


def _struct(value: dict[str, Any]) -> struct_pb2.Struct:
    return json_format.ParseDict(value, struct_pb2.Struct())


def _open(value: Any) -> Any:
    """Return a value without the marks of secrets."""
    if isinstance(value, dict):
        return (
            _open(value["value"])
            if _SECRET in value.values()
            else {key: _open(item) for key, item in value.items()}
        )
    return [_open(item) for item in value] if isinstance(value, list) else value


def _type_and_name(urn: str) -> tuple[str, str]:
    *_, types, name = urn.split("::", 3)
    return types.rpartition("$")[2], name


def _properties(type_: str) -> set[str]:
    """Return the properties that the SDK's class of a type takes."""
    _, module, kind = type_.split(":")
    service = module.partition("/")[0].replace("lambda", "lambda_")
    made_by = getattr(importlib.import_module(f"pulumi_aws.{service}"), kind)._internal_init
    names = inspect.signature(made_by).parameters
    return {re.sub("_(.)", lambda found: found[1].upper(), name) for name in names}


Message = Any
"""A message of the protocol, whose classes have no types."""


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The calls that the engine makes, in the order in which it makes them."""

    def GetPluginInfo(self, request: Message, context: Message) -> Message:
        return plugin_pb2.PluginInfo(version=metadata.version("pulumi-aws"))

    def CheckConfig(self, request: Message, context: Message) -> Message:
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Message, context: Message) -> Message:
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Message, context: Message) -> Message:
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, acceptResources=True
        )

    def Invoke(self, request: Message, context: Message) -> Message:
        answer = _struct(looked_up(request.tok, REGION))
        return provider_pb2.InvokeResponse(**{"return": answer})

    def Check(self, request: Message, context: Message) -> Message:
        type_, name = _type_and_name(request.urn)
        inputs, properties = _plain(request.news), _properties(type_)
        if "name" in properties:
            prefix = inputs.get("namePrefix", f"{name}-")
            name = _plain(request.olds).get("name") or f"{prefix}{request.randomSeed.hex()[:7]}"
            inputs.setdefault("name", name)
        return provider_pb2.CheckResponse(
            inputs=_struct(inputs),
            failures=[
                provider_pb2.CheckFailure(property=one, reason=f"{type_} does not take {one}")
                for one in inputs.keys() - properties - {"__defaults"}
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
            replaces={*changed} & replaced_by(type_),
        )

    def Create(self, request: Message, context: Message) -> Message:
        type_, name = _type_and_name(request.urn)
        kind = type_.rpartition(":")[2]
        inputs = _plain(request.properties)
        stack = request.urn.split("::")[0]
        salt = os.urandom(4).hex()
        id_, outputs = created(type_, name, _open(inputs), region=REGION, stack=stack, salt=salt)
        if known_by := _FIXED.get(kind, ("",))[0].split():
            id_ = "/".join(str(outputs[key]) for key in known_by)
        if kind in ("ApiKey", "UsagePlanKey"):  # AWS returns a key's value with both
            key = name.replace("-plan-key-", "-key-")
            outputs["value"] = hashlib.sha256(key.encode()).hexdigest()
        added = {key: value for key, value in outputs.items() if key not in inputs}
        if request.preview:
            added = dict.fromkeys(added, _UNKNOWN)
        elif re.search(os.environ.get("PROVIDER_FAILS_AT", "^$"), request.urn):
            context.abort(grpc.StatusCode.INTERNAL, "The provider was told to fail here.")
        else:
            _log("create", request.urn, id_)
        return provider_pb2.CreateResponse(id=id_, properties=_struct({**inputs, **added}))

    def Update(self, request: Message, context: Message) -> Message:
        if not request.preview:
            _log("update", request.urn, request.id)
        added = {k: v for k, v in _plain(request.olds).items() if k not in request.old_inputs}
        return provider_pb2.UpdateResponse(properties=_struct({**added, **_plain(request.news)}))

    def Delete(self, request: Message, context: Message) -> Message:
        _log("delete", request.urn, request.id)
        return empty_pb2.Empty()


if __name__ == "__main__":
    # One thread, so that calls are logged in the order in which they are done.
    server = grpc.server(futures.ThreadPoolExecutor(1))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()
