"""The AWS provider that every resource of the stack uses."""

import pulumi_aws as aws

from settings.schema import Settings


def aws_provider(settings: Settings) -> aws.Provider:
    """Return a provider for the stack's Region and profile, with tags for every resource.

    It is explicit, so that no resource ends up in another account or Region by default. An explicit
    provider does not read `aws:region` and `aws:profile` itself, so it gets both from the settings.
    """
    return aws.Provider(
        "aws",
        region=settings.region,
        profile=settings.profile,
        default_tags={
            "tags": {
                "project": settings.project,
                "stack": settings.stack,
                "managed-by": "pulumi",
            }
        },
    )
