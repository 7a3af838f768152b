"""The AWS provider that every resource of the stack uses."""

import re

import pulumi
import pulumi_aws as aws
from pydantic.alias_generators import to_camel

from settings.schema import REGION, Settings


def aws_provider(settings: Settings) -> tuple[aws.Provider, str]:
    """Return the provider of the stack's account and Region, and the Region.

    It is explicit, so that no resource ends up in another account or Region by default. An explicit
    provider does not read the config under `aws:` itself, so it gets all of that.

    Raises:
        pulumi.RunError: the Region is not supported. Only the AWS environment can have named it,
            because the settings refuse it in the config.
    """
    # The provider takes what is in lists and mappings as JSON, with its own names.
    config = settings.provider.model_dump(by_alias=True, exclude_unset=True)
    given = {name: config[to_camel(name)] for name in settings.provider.model_fields_set}
    tags = {"project": settings.project, "stack": settings.stack, "managed-by": "pulumi"}
    given["default_tags"] = {"tags": settings.provider.default_tags.tags | tags}
    provider = aws.Provider("aws", **{name: value for name, value in given.items() if value != ""})
    # The program waits for this answer instead of using an Output, so that it can end here: an
    # error raised inside `apply` is reported once for every dependent resource.
    region = aws.get_region(opts=pulumi.InvokeOptions(provider=provider)).region
    if not re.fullmatch(REGION, region):
        raise pulumi.RunError(
            f"The AWS environment's Region, {region}, is not supported. Allowed: a Region outside "
            "of China, GovCloud and isolated partitions. Fix: "
            f"pulumi config set aws:region us-east-1 --stack {settings.stack}"
        )
    return provider, region
