"""A stack's settings, as `pulumi up` would read them."""

from pathlib import Path

from components.settings import Settings
from operations.errors import OperationsError
from throttling.cli_stack import ROOT, StackError, load_stack


def stack_settings(stack: str, root: Path = ROOT) -> Settings:
    """The settings of a stack, checked.

    Raises:
        OperationsError: when there is no such stack, or its settings are wrong.
    """
    try:
        return load_stack(stack, root=root).settings
    except StackError as error:
        raise OperationsError(str(error)) from None
