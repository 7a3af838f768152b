"""The config of a stack: its settings, what is refused, and the files it is read from."""

from settings.errors import SettingsError, UserError
from settings.files import (
    StackConfig,
    check_stack_name,
    project_root,
    read_stack,
    stack_names,
)
from settings.parse import changed, load_stack, parse_settings
from settings.schema import Settings

__all__ = [
    "Settings",
    "SettingsError",
    "StackConfig",
    "UserError",
    "changed",
    "check_stack_name",
    "load_stack",
    "parse_settings",
    "project_root",
    "read_stack",
    "stack_names",
]
