"""The AWS provider that every resource of the stack uses."""

import pulumi_aws as aws
from pydantic.alias_generators import to_camel

from settings.schema import Settings


def aws_provider(settings: Settings) -> aws.Provider:
    """Return the provider of the stack's account and Region, with tags for every resource.

    It is explicit, so that no resource ends up in another account or Region by default. An explicit
    provider does not read the config under `aws:` itself, so it gets all of that.
    """
    # The provider takes what is in lists and mappings as JSON, with its own names.
    config = settings.provider.model_dump(by_alias=True, exclude_unset=True)
    given = {name: config[to_camel(name)] for name in settings.provider.model_fields_set}
    tags = {"project": settings.project, "stack": settings.stack, "managed-by": "pulumi"}
    given["default_tags"] = {"tags": settings.provider.default_tags.tags | tags}
    return aws.Provider("aws", **{name: value for name, value in given.items() if value != ""})
