"""The AWS account that a stack is deployed to."""

from typing import Any, Final

import boto3
import botocore.session
import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ProfileNotFound

from settings import Settings, UserError
from tools.cli import is_url

LOG_IN: Final = (
    "Log in (aws sso login, aws configure), and try aws sts get-caller-identity. If --endpoint-url "
    "or AWS_ENDPOINT_URL is set, check that it answers."
)


def _endpoint(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    if url and not is_url(url):
        raise click.BadParameter(f"{url} is not an http or https address.")
    return url


endpoint_option = click.option(
    "--endpoint-url", metavar="URL", callback=_endpoint, help="An AWS API other than AWS's own."
)


def connect(settings: Settings) -> boto3.Session:
    """Return a session with a stack's profile and Region; the environment has what it leaves out.

    Raises:
        UserError: when the profile or the Region is missing, or the AWS config cannot be read.
            The first line says what is wrong, the others what to do.
    """
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


def client(
    session: boto3.Session, service: str, endpoint_url: str | None, config: Config | None = None
) -> Any:  # noqa: ANN401  boto3's clients have no types
    """Return a client of a service.

    Raises:
        UserError: when the environment or the AWS config has a value that cannot be used.
    """
    try:
        made = session.client(service, endpoint_url=endpoint_url, config=config)
        if not is_url(made.meta.endpoint_url):
            raise ValueError(f"Invalid endpoint: {made.meta.endpoint_url}")
    except (BotoCoreError, ValueError) as error:
        raise UserError(
            f"The AWS config cannot be used: {error}\nCorrect the AWS_ variables of the "
            "environment, or the AWS config. AWS_ENDPOINT_URL takes an address such as "
            "http://127.0.0.1:4566."
        ) from None
    return made
