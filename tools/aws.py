"""The AWS account that a stack is deployed to, and calls to it that change nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any, Final

import boto3
import click
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ProfileNotFound

from settings import Settings, UserError
from tools.cli import is_url

LOG_IN: Final = "Log in (aws sso login, aws configure), and try aws sts get-caller-identity."
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
    when it fails, and UserError when the AWS config cannot be used or something else than AWS
    answers. The first line of an error says what is wrong, the others what to do.
    """

    def __init__(self, settings: Settings, endpoint_url: str | None = None) -> None:
        """Use a stack's profile, Region and endpoints; the environment has what its config lacks.

        Raises:
            UserError: when the profile or the Region is missing, or the AWS config cannot be used.
        """
        self.settings = settings
        self.tags = {"project": settings.project, "stack": settings.stack}
        """What the program tags every resource of the stack with."""
        self._endpoint_url = endpoint_url
        self._clients: dict[str, Any] = {}
        with _usable_config(settings):
            self._session = boto3.Session(
                profile_name=settings.profile, region_name=settings.region
            )
        self.region: str = self._session.region_name
        if not self.region:
            raise UserError(
                "Neither the stack's config nor the environment names a Region.\n"
                f"pulumi config set aws:region eu-central-1 --stack {settings.stack}"
            )

    def ask(self, call: str, **parameters: object) -> dict[str, Any]:
        """Return the answer to a call."""
        (answer,) = self._answers(call, parameters, paged=False)
        return answer

    def ask_all(self, call: str, key: str, **parameters: object) -> list[Any]:
        """Return what all pages of the answer to a call have under `key`."""
        found: list[Any] = []
        for page in self._answers(call, parameters, paged=True):
            # AWS leaves out what is empty. API Gateway's usage is a mapping, not a list.
            items = page.get(key) or []
            found += items.items() if isinstance(items, dict) else items
        return found

    @cached_property
    def own(self) -> frozenset[str]:
        """The ARNs of what this stack has deployed, by the tags of its resources."""
        filters = [{"Key": key, "Values": [value]} for key, value in self.tags.items()]
        found = self.ask_all("tag:GetResources", "ResourceTagMappingList", TagFilters=filters)
        # AWS lists deleted resources for a while, without their tags.
        return frozenset(
            one["ResourceARN"]
            for one in found
            if self.tags.items() <= {tag["Key"]: tag["Value"] for tag in one["Tags"]}.items()
        )

    def own_ids(self, service: str, part: str) -> dict[str, str]:
        """Return id and ARN of this stack's resources of a service with `part` in their ARN.

        None when `own` fails, which a check of its own reports.
        """
        try:
            own = sorted(self.own)
        except CallError:
            return {}
        return {
            arn.rpartition("/")[2]: arn
            for arn in own
            if arn.split(":")[2] == service and part in arn
        }

    def _answers(
        self, call: str, parameters: Mapping[str, object], *, paged: bool
    ) -> Iterator[dict[str, Any]]:
        service, _, operation = call.partition(":")
        if service not in self._clients:
            self._clients[service] = self._client(_SERVICES.get(service, service))
        client, method = self._clients[service], xform_name(operation)
        url = client.meta.endpoint_url
        try:
            pages = (
                client.get_paginator(method).paginate(**parameters)
                if paged
                else [getattr(client, method)(**parameters)]
            )
            for page in pages:
                # AWS's answers have one, whatever the protocol.
                if "RequestId" not in page["ResponseMetadata"]:
                    raise LookupError
                yield page
        except ClientError as error:
            details = error.response.get("Error", {})
            code = details.get("Code", "")
            if code in _DENIED:
                # API Gateway has one action for all reads.
                action = "apigateway:GET" if service == "apigateway" else call
                raise CallError(f"the credentials do not permit {action}") from None
            if code.isdecimal():  # botocore found no error of AWS's in it
                raise CallError(f"{url} answers {call} with {code}, not as AWS does") from None
            raise CallError(" ".join(f"{code}: {details.get('Message')}".split())) from None
        except BotoCoreError as error:
            raise CallError(" ".join(str(error).split())) from None
        except Exception:  # of many kinds, from botocore's parsers
            name = client.meta.service_model.service_id.replace(" ", "_").upper()
            raise UserError(
                f"{url} does not answer as AWS does.\nCorrect --endpoint-url, aws:endpoints, "
                f"AWS_ENDPOINT_URL_{name}, AWS_ENDPOINT_URL, or endpoint_url in the AWS config."
            ) from None

    def _client(self, name: str) -> Any:  # noqa: ANN401  boto3's clients have no types
        url = self._endpoint_url
        for endpoints in self.settings.provider.endpoints:
            url = url or endpoints.get(name.replace("-", ""))
        with _usable_config(self.settings):
            made = self._session.client(name, endpoint_url=url, config=_CONFIG)
            if not is_url(made.meta.endpoint_url):
                raise ValueError(f"Invalid endpoint: {made.meta.endpoint_url}")
            return made


@contextmanager
def _usable_config(settings: Settings) -> Iterator[None]:
    try:
        yield
    except ProfileNotFound as error:
        fix = f"pulumi config set aws:profile NAME --stack {settings.stack}"
        raise UserError(
            f"{error}. aws configure list-profiles shows those that there are.\n"
            f"{fix if settings.profile else 'Set AWS_PROFILE to one of these, or unset it.'}"
        ) from None
    except (BotoCoreError, ValueError) as error:
        raise UserError(
            f"The AWS config cannot be used: {error}\nCorrect the AWS_ variables of the "
            "environment, or the AWS config file. AWS_ENDPOINT_URL takes an address such as "
            "http://127.0.0.1:4566."
        ) from None
