"""The AWS provider that every resource of the stack uses."""

import pulumi_aws as aws

from settings.schema import Settings


def aws_provider(settings: Settings) -> aws.Provider:
    """An explicit provider: the stack's Region and profile, and tags on all that takes tags.

    Explicit so that nothing is made with another account's defaults by accident; which is why the
    stack's `aws:region` and `aws:profile` have to be handed on.
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
