"""The settings of the stack that Pulumi is running: the only module that loads Pulumi."""

import pulumi
from pulumi.runtime.config import (
    CONFIG,
    get_config_env,
    get_config_secret_keys_env,
    is_config_secret,
)

from settings.errors import UserError
from settings.files import StackConfig
from settings.parse import parse_settings
from settings.schema import Settings


def load_settings() -> Settings:
    """Return the settings of the stack that Pulumi is running, and log their warnings.

    Raises:
        pulumi.RunError: listing every problem of the config; Pulumi shows it without a traceback.
    """
    values: dict[str, str] = {**get_config_env(), **CONFIG.get()}
    secret = {*get_config_secret_keys_env(), *filter(is_config_secret, values)}
    config = StackConfig(
        project=pulumi.get_project(),
        stack=pulumi.get_stack(),
        values=values,
        secret_keys=frozenset(secret),
    )
    try:
        settings = parse_settings(config)
    except UserError as error:
        raise pulumi.RunError(str(error)) from None
    for warning in settings.warnings():
        pulumi.log.warn(warning)
    return settings
