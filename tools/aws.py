"""The AWS account that a stack is deployed to, and calls to it that change nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import boto3
import botocore.session
import click
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from settings import Settings, UserError
from settings.errors import fix_command
from tools.cli import is_url

LOG_IN: Final = (
    "Log in (aws sso login, aws configure), and try aws sts get-caller-identity. If --endpoint-url "
    "or AWS_ENDPOINT_URL is set, check that it answers as AWS does."
)
_SERVICES: Final = {"tag": "resourcegroupstaggingapi", "servicequotas": "service-quotas"}
"""Services whose name in IAM actions is not boto3's."""
_DENIED: Final = {
    *("AccessDenied", "AccessDeniedException", "AuthorizationError"),
    *("AuthorizationErrorException", "UnauthorizedException", "UnauthorizedOperation"),
}
_CONFIG: Final = Config(
    connect_timeout=5, read_timeout=20, retries={"mode": "standard", "max_attempts": 3}
)


def _endpoint(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url and not is_url(url):
        raise click.BadParameter(f"{url} is not an http or https address.")
    return url


endpoint_option = click.option(
    "--endpoint-url", metavar="URL", callback=_endpoint, help="An AWS API other than AWS's own."
)


class CallError(Exception):
    """A call to AWS failed; the text says why."""


class Account:
    """The account that a stack goes to.

    Calls have the names of their IAM actions, such as `ec2:DescribeVpcs`. Each raises CallError
    when it fails, and UserError when the environment or the AWS config cannot be used.
    """

    def __init__(self, settings: Settings, endpoint_url: str | None = None) -> None:
        """Use a stack's profile and Region; the environment has what its config leaves out.

        Raises:
            UserError: when the profile or the Region is missing, or the AWS config cannot be read.
                The first line says what is wrong, the others what to do.
        """
        self.settings = settings
        self._session = _session(settings)
        self._endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}

    @property
    def region(self) -> str:
        """The Region of all calls."""
        return str(self._session.region_name)

    def identity(self) -> str:
        """Return the account, the Region and the caller in a sentence.

        Raises:
            UserError: when AWS refuses the credentials, or something else answers.
        """
        try:
            who = self.ask("sts:GetCallerIdentity")
        except CallError as error:
            raise UserError(
                f"AWS refuses the credentials, or cannot be reached: {error}.\n{LOG_IN}"
            ) from None
        return f"Account {who['Account']}, Region {self.region}, as {who['Arn']}."

    def fix(self, *path: str | int, value: str | None) -> str:
        """Return the command that sets a setting of the stack, or removes it."""
        return fix_command(self.settings.project, self.settings.stack, path, value)

    def ask(self, call: str, **parameters: object) -> dict[str, Any]:
        """Return the answer to a call."""
        client = self._client(call)
        with _failures(call):
            answer: dict[str, Any] = getattr(client, _method(call))(**parameters)
        return answer

    def ask_all(self, call: str, key: str, **parameters: object) -> list[Any]:
        """Return what all pages of the answer to a call have under `key`."""
        client = self._client(call)
        with _failures(call):
            pages = client.get_paginator(_method(call)).paginate(**parameters)
            # AWS leaves out what is empty. API Gateway's usage is a mapping, not a list.
            return [item for page in pages if (found := page.get(key)) for item in _items(found)]

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
            try:
                made = self._session.client(name, endpoint_url=self._endpoint_url, config=_CONFIG)
                if not is_url(made.meta.endpoint_url):
                    raise ValueError(f"Invalid endpoint: {made.meta.endpoint_url}")
            except (BotoCoreError, ValueError) as error:
                raise UserError(
                    f"The AWS config cannot be used: {error}\nCorrect the AWS_ variables of the "
                    "environment, or the AWS config. AWS_ENDPOINT_URL takes an address such as "
                    "http://127.0.0.1:4566."
                ) from None
            self._clients[service] = made
        return self._clients[service]


def _session(settings: Settings) -> boto3.Session:
    try:
        session = boto3.Session(profile_name=settings.profile, region_name=settings.region)
    except ProfileNotFound as error:
        known = ", ".join(botocore.session.Session().available_profiles) or "none"
        fix = f"pulumi config set aws:profile NAME --stack {settings.stack}"
        raise UserError(
            f"{error}. Profiles here: {known}.\n"
            f"{fix if settings.profile else 'Set AWS_PROFILE to one of these, or unset it.'}"
        ) from None
    except BotoCoreError as error:
        raise UserError(
            f"The AWS config cannot be used: {error}\nCorrect the file, or AWS_CONFIG_FILE."
        ) from None
    if not session.region_name:
        raise UserError(
            "Neither the stack's config nor the environment names a Region.\n"
            f"pulumi config set aws:region eu-central-1 --stack {settings.stack}"
        )
    return session


def _items(found: Any) -> list[Any]:  # noqa: ANN401  JSON
    return [*found.items()] if isinstance(found, dict) else found


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
    except Exception:  # of many kinds, from botocore's parsers
        raise CallError("what answers is not AWS") from None
