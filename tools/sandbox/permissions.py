"""What the function may do with DynamoDB: its role's policies and the endpoint's, as registered.

Evaluates what these policies use, and refuses to read what it does not understand.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from settings import UserError
from tools.recorder.resources import Resource, Resources

_UNDERSTOOD: Final = {"Sid", "Effect", "Action", "Resource", "Principal"}
_TRANSACTION_PARTS: Final = {"Put", "Update", "Delete", "ConditionCheck", "Get"}


class Policy(BaseModel):
    """A policy that must allow each call; several documents of one kind are one policy."""

    kind: str
    """As AWS names it: `identity-based policy`, `VPC endpoint policy`."""
    statements: list[dict[str, Any]]
    """Those about DynamoDB."""

    def refuses(self, action: str, resource: str) -> str:
        """Return why a call may not pass, in AWS's words; empty if it may."""
        effects = {
            statement["Effect"]
            for statement in self.statements
            if any(matches(p.lower(), action.lower()) for p in _texts(statement["Action"]))
            and any(matches(pattern, resource) for pattern in _texts(statement["Resource"]))
        }
        if "Deny" in effects:
            return f"with an explicit deny in a{'n' if self.kind[0] == 'i' else ''} {self.kind}"
        return "" if "Allow" in effects else f"because no {self.kind} allows the {action} action"


class Permissions(BaseModel):
    """What one function may do."""

    user: str
    """ARN of the role's session."""
    account_id: str
    policies: list[Policy]

    def refusal(self, operation: str, region: str, body: Mapping[str, Any]) -> str:
        """Return DynamoDB's message if a call may not pass; empty if it may."""
        tables = f"arn:aws:dynamodb:{region}:{self.account_id}:table/"
        for action, resource in _needed(operation, body, tables):
            for policy in self.policies:
                if reason := policy.refuses(action, resource):
                    return (
                        f"User: {self.user} is not authorized to perform: {action} "
                        f"on resource: {resource} {reason}"
                    )
        return ""


def read_permissions(resources: Resources, function: Resource) -> Permissions:
    """Return the policies of a function's role, and of the endpoint that it must use.

    Raises:
        UserError: there is a policy that the sandbox cannot read.
    """
    roles = resources.of_type("aws:iam/role:Role", arn=function.inputs["role"])
    if len(roles) != 1:
        raise UserError(
            f"The program registered {len(roles)} roles of {function.name}; it needs 1."
        )
    (role,) = roles
    for name in ("inlinePolicies", "permissionsBoundary"):
        if role.inputs.get(name):
            raise UserError(
                f"{role.name} has {name}, which the sandbox does not read. Give the role its "
                "statements in a RolePolicy."
            )
    own = resources.of_type("aws:iam/rolePolicy:RolePolicy", role=role.id)
    links = resources.of_type("aws:iam/rolePolicyAttachment:RolePolicyAttachment", role=role.id)
    attached = [link.inputs["policyArn"] for link in links]
    for arn in [*attached, *(role.inputs.get("managedPolicyArns") or [])]:
        found = resources.of_type("aws:iam/policy:Policy", arn=arn)
        if not found:
            raise UserError(
                f"{role.name}: the sandbox cannot read the policy {arn}. Give the role its "
                "statements in a policy of the program."
            )
        own += found
    policies = [read_policy("identity-based policy", own)]
    for endpoint in resources.of_type("aws:ec2/vpcEndpoint:VpcEndpoint"):
        if endpoint.inputs["serviceName"].endswith(".dynamodb") and "policy" in endpoint.inputs:
            policies.append(read_policy("VPC endpoint policy", [endpoint]))
    account_id, name = function.outputs["arn"].split(":")[4], function.outputs["name"]
    user = f"arn:aws:sts::{account_id}:assumed-role/{role.outputs['name']}/{name}"
    return Permissions(user=user, account_id=account_id, policies=policies)


def read_policy(kind: str, holders: Iterable[Resource]) -> Policy:
    """Read the policy documents of resources as one policy.

    Raises:
        UserError: a statement about DynamoDB has an element that is not understood.
    """
    statements = []
    for holder in holders:
        document = holder.inputs["policy"]
        found = (json.loads(document) if isinstance(document, str) else document)["Statement"]
        for statement in found if isinstance(found, list) else [found]:
            actions = _texts(statement.get("Action", []))
            if actions and not any(re.match(r"dynamodb:|\*|\?", a, re.IGNORECASE) for a in actions):
                continue
            unknown = sorted(statement.keys() - _UNDERSTOOD)
            if statement.get("Principal", "*") not in ("*", {"AWS": "*"}):
                unknown.append("Principal")
            if unknown:
                raise UserError(
                    f"{holder.name}: the sandbox does not understand {', '.join(unknown)} in a "
                    "statement about DynamoDB. Write it with Effect, Action and Resource only."
                )
            statements.append(statement)
    return Policy(kind=kind, statements=statements)


def _needed(operation: str, body: Mapping[str, Any], tables: str) -> Iterator[tuple[str, str]]:
    """Yield the actions, each with its resource, that a call of DynamoDB's API needs.

    The ARNs of the Region's tables begin with `tables`.
    """
    parts: list[tuple[str, Any]] = [(operation, body.get("TableName"))]
    if "RequestItems" in body:
        parts = [(operation, table) for table in body["RequestItems"]]
    elif "TransactItems" in body:
        parts = [
            (f"{kind}Item", one.get("TableName"))
            for item in body["TransactItems"]
            for kind, one in item.items()
            if kind in _TRANSACTION_PARTS
        ]
    for action, table in parts:
        name = str(table).rpartition(":table/")[2]
        index = f"/index/{body['IndexName']}" if "IndexName" in body else ""
        yield f"dynamodb:{action}", f"{tables}{name}{index}" if table else "*"


def matches(pattern: str, text: str) -> bool:
    """Return whether a text fits a pattern with `*` for any characters and `?` for one."""
    escaped = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(escaped, text, re.DOTALL) is not None


def _texts(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
