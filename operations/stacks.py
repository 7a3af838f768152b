"""A stack's settings, as `pulumi up` would read them."""

from pathlib import Path
from typing import Final

from components.config_errors import SettingsError
from components.settings import Settings, parse_settings
from components.stack_files import StackFileError, project_name, read_stack, secret_keys
from operations.errors import OperationsError

ROOT: Final = Path(__file__).resolve().parents[1]
"""Where `Pulumi.yaml` is."""


def stack_settings(stack: str, root: Path = ROOT) -> Settings:
    """The settings of a stack, checked.

    Raises:
        OperationsError: when there is no such stack, or its settings are wrong.
    """
    try:
        return parse_settings(
            read_stack(root, stack),
            project=project_name(root),
            stack=stack,
            secret_keys=secret_keys(root, stack),
        )
    except (StackFileError, SettingsError) as error:
        raise OperationsError(str(error)) from None
