"""A stack's config read from its files, as Pulumi's engine passes it to the program.

What runs without the Pulumi CLI (the sandbox, the review, the tests) reads the same files.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from settings.errors import UserError

_STACK_NAME: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]{1,100}")
_SECRET: Final = re.compile(r'\{"secure": "[^"]*"\}')
"""An encrypted value, anywhere in a top-level value."""
_DECLARATION: Final = {"type", "items", "description", "secret", "default", "value"}
_MAX_BYTES: Final = 1_000_000
_MAX_VALUES: Final = 200_000
"""Values in a file, those that aliases repeat counted each time."""
_logger: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """The config of one stack, as Pulumi's engine passes it to the program."""

    project: str
    """Name of the project, the namespace of its keys."""
    stack: str
    values: Mapping[str, str]
    """By key with its namespace: mappings and lists as JSON, anything else as text."""
    secret_keys: frozenset[str] = frozenset()
    """Keys of `values` that are, or contain, encrypted values."""


_PLAIN: Final = "!plain"
"""The tag of a text without quotes."""
_TAGS: Final = {_PLAIN, *(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))}
_INTEGER: Final = "[+-]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]{0,18})"
_DECIMAL: Final = r"[+-]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][+-]?[0-9]+)?"
_INFINITE: Final = r"[+-]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
_TIME: Final = r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(([Tt]|[ \t]+)[0-9]{1,2}:.*)?"


class _Loader(yaml.SafeLoader):
    """Reads the structure of YAML, and leaves it to `_plain` what a plain text stands for."""


_Loader.yaml_implicit_resolvers = {None: [(_PLAIN, re.compile(""))]}


def _value(node: yaml.Node, left: Iterator[int]) -> Any:  # noqa: ANN401  JSON
    """Return what a YAML node stands for, as Pulumi's engine reads it.

    `no` is a word, not false, and no key may come twice. What the engine would pass on in another
    form is refused. `left` counts down the values allowed.
    """
    if node.tag not in _TAGS:
        raise _refusal(f"leave out {node.tag.replace('tag:yaml.org,2002:', '!!')}", node)
    if next(left, None) is None:
        raise _refusal("it contains itself, or its aliases make it too large", node)
    if isinstance(node, yaml.ScalarNode):
        return _plain(node) if node.tag == _PLAIN else node.value
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, left) for item in node.value]
    own: dict[str, Any] = {}
    for key_node, value_node in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise _refusal("a key must be a text", key_node)
        name = _value(key_node, left)
        if type(name) in (int, float) and re.search("[.eE]", key_node.value):
            raise _refusal(f"put the key {key_node.value} in quotes", key_node)
        key = "<nil>" if name is None else _passed(name)
        if key in own:
            raise _refusal(f"the key {key!r} comes twice", key_node)
        own[key] = _value(value_node, left)
    merged = own.pop("<<", {})
    for one in merged if isinstance(merged, list) else [merged]:
        if not isinstance(one, dict):
            raise _refusal("only mappings can be merged", node)
        own = one | own
    return own


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.composer.ComposerError(None, None, problem, node.start_mark)


def _plain(node: yaml.ScalarNode) -> object:
    """Return what a text without quotes stands for: 017 is octal, and 1e3 an integer.

    https://github.com/go-yaml/yaml/blob/v3/resolve.go
    """
    text: str = node.value
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    number: float | None = None
    digits = re.sub("(?<=[0-9])_(?=[0-9])" if text[0] == "." else "(?<!^)_", "", text)
    if re.fullmatch(_INTEGER, digits):
        number = int(re.sub("^([+-]?)0(?=[0-7])", r"\g<1>0o", digits), 0)
    elif re.fullmatch(_DECIMAL, digits):
        number = float(digits)
    if re.fullmatch(f"{_INFINITE}|{_TIME}", text) or not -(2**63) <= (number or 0) < 2**63:
        raise _refusal(f"put {text[:40]} in quotes: a config holds no such number or time", node)
    if number is None:
        return text
    return int(number) if number == int(number) else number


def project_root(start: Path | None = None) -> Path:
    """Return the project's folder: the nearest with a `Pulumi.yaml`, as the Pulumi CLI finds it.

    The search begins in `start`, by default the current folder, and goes up from there.

    Raises:
        UserError: when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise UserError(f"There is no Pulumi.yaml in {here} or above; run this in the project.")


def project_name(root: Path) -> str:
    """Return the name that `Pulumi.yaml` in `root` gives the project."""
    return str(_project(root)["name"])


def stack_names(root: Path | None = None) -> list[str]:
    """Return the names of the stacks that have a config file, sorted."""
    root = root or project_root()
    names = [path.name[7:-5] for path in _stacks_folder(root, _project(root)).glob("Pulumi.*.yaml")]
    # The CLI keeps the deployment settings of stack dev in Pulumi.dev.deploy.yaml.
    return sorted(n for n in names if _STACK_NAME.fullmatch(n) and not n.endswith(".deploy"))


def check_stack_name(stack: str) -> None:
    """Check a stack's name as Pulumi does, before it becomes a part of a path.

    Raises:
        UserError: when no stack can have this name.
    """
    if not _STACK_NAME.fullmatch(stack):
        raise UserError(
            f"{stack[:120]!r} is not a stack's name: 1 to 100 letters, digits, -, _ and dots."
        )


def read_stack(stack: str, root: Path | None = None) -> StackConfig:
    """Read a stack's config from its file, and what it does not set from `Pulumi.yaml`.

    `root` is the project's folder, by default the one that holds the current folder.

    Raises:
        UserError: when a file is missing, is not YAML, or holds no `config` mapping.
    """
    check_stack_name(stack)
    root = root or project_root()
    project = _project(root)
    path = _stacks_folder(root, project) / f"Pulumi.{stack}.yaml"
    known = ", ".join(stack_names(root)) or "none"
    content = _mapping(path, f"stacks with a config here: {known}")
    if "environment" in content:
        _logger.warning(
            "%s: values from its `environment` (Pulumi ESC) cannot be read here, so these limits "
            "may not be those of the stack.",
            path.name,
        )
    config = _entries(path.name, project["name"], content.get("config"))
    declarations = _entries("Pulumi.yaml", project["name"], project.get("config"))
    for key, declared in declarations.items():
        if not re.fullmatch("[^.[]+", key):
            raise UserError(f"Pulumi.yaml: {key} is a path. Write a mapping below `value` instead.")
        if not isinstance(declared, dict):
            declared = {"value": declared}
        if unknown := sorted(declared.keys() - _DECLARATION):
            raise UserError(
                f"Pulumi.yaml: {key} has {unknown[0]!r} beside or instead of `value`. "
                "Write a mapping of settings below `value`."
            )
        if config.setdefault(key, declared.get("default", declared.get("value"))) is None:
            raise UserError(
                f"{path.name}: {key} is missing, and Pulumi.yaml gives no value for it."
            )
    values = {key: _passed(value) for key, value in config.items()}
    secret = frozenset(key for key, text in values.items() if _SECRET.search(text))
    return StackConfig(project=project["name"], stack=stack, values=values, secret_keys=secret)


def _project(root: Path) -> dict[str, Any]:
    project = _mapping(root / "Pulumi.yaml", "run this in the project's folder")
    if not isinstance(project.get("name"), str):
        raise UserError(f"{root / 'Pulumi.yaml'} has no `name`.")
    return project


def _stacks_folder(root: Path, project: Mapping[str, Any]) -> Path:
    return root / str(project.get("stackConfigDir") or "")


def _entries(file: str, project: str, config: object) -> dict[str, Any]:
    """Return a file's config by key with namespace, as the engine understands its keys.

    The project's namespace may be left out, and an old form has `config` in between.
    https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/config/key.go
    """
    config = {} if config is None else config
    if not isinstance(config, dict):
        raise UserError(f"{file}: `config` is not a mapping of settings.")
    entries: dict[str, Any] = {}
    for key, value in config.items():
        match str(key).split(":"):
            case [name]:
                full = f"{project}:{name}"
            case [namespace, name] | [namespace, "config", name]:
                full = f"{namespace}:{name}"
            case _:
                raise UserError(f"{file}: the key {key!r} is not of the form `<namespace>:<name>`.")
        if full in entries:
            raise UserError(f"{file}: {full!r} comes twice, once in another form.")
        entries[full] = value
    return entries


def _passed(value: object) -> str:
    """Return a top-level value as the engine passes it to the program."""
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)


def _mapping(path: Path, otherwise: str) -> dict[str, Any]:
    """Return what a file holds; `otherwise` says what to do when there is none."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
        if len(raw) > _MAX_BYTES:
            raise UserError(f"{path.name} is larger than {_MAX_BYTES:,} bytes.")
        node = yaml.compose(raw.decode(), _Loader)
        content = _value(node, iter(range(_MAX_VALUES))) if node else None
    except FileNotFoundError:
        raise UserError(f"There is no {path.name}; {otherwise}.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).replace('in "<unicode string>",', "at").split())
        raise UserError(f"{path.name} cannot be read: {reason}.") from None
    except RecursionError:
        raise UserError(f"{path.name} is nested too deeply, or contains itself.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path.name} is not a mapping.")
    return content
