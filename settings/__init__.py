"""The config of a stack: its schema, what is refused, and the files it is read from."""

from settings.errors import SettingsError, UserError
from settings.files import StackConfig, project_root, read_stack, stack_names
from settings.schema import Settings, parse_settings
from settings.stacks import load_stack

__all__ = [
    "Settings",
    "SettingsError",
    "StackConfig",
    "UserError",
    "load_stack",
    "parse_settings",
    "project_root",
    "read_stack",
    "stack_names",
]
