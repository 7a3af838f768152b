"""The AWS account that a stack is deployed to."""

from urllib.parse import urlsplit

import boto3
import botocore.session
import click
from botocore.exceptions import BotoCoreError, ProfileNotFound

from settings import Settings, UserError


def _endpoint(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    try:
        parts = urlsplit(url or "http://localhost")
        valid = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
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
