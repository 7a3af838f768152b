"""An AWS account in one Region, and calls to it that change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

import boto3
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from settings import Settings
from settings.errors import fix_command
from tools.aws import client

_SERVICES: Final = {"tag": "resourcegroupstaggingapi", "servicequotas": "service-quotas"}
"""Services whose name in IAM actions is not boto3's."""
_DENIED: Final = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError"),
    *("AuthorizationErrorException", "UnauthorizedException", "UnauthorizedOperation"),
}
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}
)


class Answer(NamedTuple):
    """What a check found, and what to do about it."""

    severity: Literal["ok", "warning", "problem"]
    """A problem makes the update fail, or what it creates not work."""
    meaning: str
    action: str = ""
    """Words or commands."""


class CallError(Exception):
    """A call to AWS failed; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """The account that a stack goes to.

    Calls have the names of their IAM actions, such as `ec2:DescribeVpcs`. Each raises CallError
    when it fails.
    """

    settings: Settings
    session: boto3.Session
    endpoint_url: str | None = None
    _clients: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def region(self) -> str:
        return str(self.session.region_name)

    def fix(self, *path: str | int, value: str | None) -> str:
        """Return the command that sets a setting of the stack, or removes it."""
        return fix_command(self.settings.project, self.settings.stack, path, value)

    def ask(self, call: str, **parameters: object) -> dict[str, Any]:
        """Return the answer to a call."""
        with _failures(call):
            answer: dict[str, Any] = getattr(self._client(call), _method(call))(**parameters)
        return answer

    def ask_all(self, call: str, key: str, **parameters: object) -> list[dict[str, Any]]:
        """Return what all pages of the answer to a call have under `key`."""
        with _failures(call):
            pages = self._client(call).get_paginator(_method(call)).paginate(**parameters)
            return list(pages.search(f"{key}[] || `[]`"))  # AWS leaves out an empty list

    def ask_own(self) -> frozenset[str]:
        """Return the ARNs of what this stack has deployed, by the tags of its resources."""
        wanted = {"project": self.settings.project, "stack": self.settings.stack}
        found = self.ask_all(
            "tag:GetResources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": key, "Values": [value]} for key, value in wanted.items()],
        )
        # AWS lists deleted resources for a while, without their tags.
        return frozenset(
            one["ResourceARN"]
            for one in found
            if wanted.items() <= {tag["Key"]: tag["Value"] for tag in one["Tags"]}.items()
        )

    @cached_property
    def own(self) -> frozenset[str]:
        """The ARNs of `ask_own`; none when that fails, which a check of its own reports."""
        try:
            return self.ask_own()
        except CallError:
            return frozenset()

    def own_ids(self, service: str, part: str) -> dict[str, str]:
        """Return id and ARN of this stack's resources of a service with `part` in their ARN."""
        return {
            arn.rpartition("/")[2]: arn
            for arn in sorted(self.own)
            if arn.split(":")[2] == service and part in arn
        }

    def _client(self, call: str) -> Any:  # noqa: ANN401  boto3's clients have no types
        service = call.partition(":")[0]
        if service not in self._clients:
            name = _SERVICES.get(service, service)
            self._clients[service] = client(self.session, name, self.endpoint_url, _CONFIG)
        return self._clients[service]


def _method(call: str) -> str:
    return str(xform_name(call.partition(":")[2]))


@contextmanager
def _failures(call: str) -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        details = error.response.get("Error", {})
        if details.get("Code") in _DENIED:
            # API Gateway has one action for all reads.
            action = "apigateway:GET" if call.startswith("apigateway:") else call
            raise CallError(f"the credentials do not permit {action}") from None
        raise CallError(f"{details.get('Code')}: {details.get('Message')}") from None
    except BotoCoreError as error:
        raise CallError(" ".join(str(error).split())) from None
