"""A stack's config read from its files, as Pulumi's engine passes it to the program.

What runs without the Pulumi CLI (the sandbox, the review, the tests) reads the same files.
"""

import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import yaml

from settings.errors import UserError

_STACK_NAME: Final = re.compile(r"(?!\.+$)[A-Za-z0-9_.-]{1,100}")
_MAX_BYTES: Final = 1_000_000
_MAX_VALUES: Final = 200_000
"""Values in a file, those that aliases repeat counted each time."""
_logger: Final = logging.getLogger(__name__)


class StackFileError(UserError):
    """A project's or a stack's file is missing or cannot be read."""


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


_TAG: Final = "tag:yaml.org,2002:"
_PLAIN: Final = "!plain"
"""The tag of a text without quotes."""


class _EngineLoader(yaml.SafeLoader):
    """YAML as Pulumi's engine reads it: `no` is a word, not false, and no key may come twice.

    https://github.com/go-yaml/yaml/blob/v3/resolve.go
    """

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:  # noqa: ANN401  untyped
        if kind is yaml.ScalarNode and implicit[0]:
            return f"{_TAG}merge" if value == "<<" else _PLAIN
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node and _size(node, {}) > _MAX_VALUES:
            raise _refusal("it contains itself, or its aliases make it too large", node)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:  # noqa: ANN401  untyped
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _PLAIN:
                key.tag, key.value = f"{_TAG}str", _passed(_plain(key.value))
            if key.tag == f"{_TAG}str":
                if key.value in seen:
                    raise _refusal(f"the key {key.value!r} comes twice", key)
                seen.add(key.value)
        return node


# A config has no other types of YAML, such as sets and bytes.
_EngineLoader.yaml_constructors = {
    None: yaml.SafeLoader.construct_undefined,
    _PLAIN: lambda _, node: _plain(node.value),
    _TAG + "str": yaml.SafeLoader.construct_yaml_str,
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
}


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _size(node: yaml.Node, sizes: dict[int, float]) -> float:
    """Return how many values a node stands for, infinity if it contains itself."""
    if id(node) not in sizes:
        sizes[id(node)] = math.inf
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in children for child in pair]
        sizes[id(node)] = 1 + sum(_size(child, sizes) for child in children)
    return sizes[id(node)]


def _plain(text: str) -> object:
    """Return what a text without quotes stands for."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    try:
        if day := re.fullmatch("([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})", text):
            return f"{date(*map(int, day.groups()))} 00:00:00 +0000 UTC"
        if re.fullmatch(r"[+-]?\.?[0-9][!-~]*", text):
            return _number(text.replace("_", ""))
    except ValueError:
        pass  # it only looks like one
    return text


def _number(text: str) -> int | float:
    """Return a number as Go reads it: 017 is octal, and 1e3 an integer.

    Raises:
        ValueError: when it is another text, or too large for a number.
    """
    octal = re.fullmatch("([+-]?)0([0-7]+)", text)
    try:
        whole = int(octal[1] + octal[2], 8) if octal else int(text, 0)
        if -(2**63) <= whole < 2**64:
            return whole
    except ValueError:
        pass  # not an integer, or too long for one
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def project_root(start: Path | None = None) -> Path:
    """Return the project's folder: the nearest with a `Pulumi.yaml`, as the Pulumi CLI finds it.

    Args:
        start: the folder to look in first, then in those above; None for the current one.

    Raises:
        StackFileError: when there is none.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise StackFileError(f"There is no Pulumi.yaml in {here} or above; run this in the project.")


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
        StackFileError: when no stack can have this name.
    """
    if not _STACK_NAME.fullmatch(stack):
        raise StackFileError(
            f"{stack[:120]!r} is not a stack's name: 1 to 100 letters, digits, -, _ and dots."
        )


def read_stack(stack: str, root: Path | None = None) -> StackConfig:
    """Read a stack's config from its file, and what it does not set from `Pulumi.yaml`.

    Args:
        stack: name of the stack.
        root: the project's folder; None for the one that holds the current folder.

    Raises:
        StackFileError: when a file is missing, is not YAML, or holds no `config` mapping.
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
    for key, declared in _entries("Pulumi.yaml", project["name"], project.get("config")).items():
        if isinstance(declared, dict):
            declared = declared.get("default", declared.get("value"))
        if declared is not None:
            config.setdefault(key, declared)
    return StackConfig(
        project=project["name"],
        stack=stack,
        values={key: _passed(value) for key, value in config.items()},
        secret_keys=frozenset(key for key, value in config.items() if _is_secret(value)),
    )


def _project(root: Path) -> dict[str, Any]:
    project = _mapping(root / "Pulumi.yaml", "run this in the project's folder")
    if not isinstance(project.get("name"), str):
        raise StackFileError(f"{root / 'Pulumi.yaml'} has no `name`.")
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
        raise StackFileError(f"{file}: `config` is not a mapping of settings.")
    entries: dict[str, Any] = {}
    for key, value in config.items():
        match str(key).split(":"):
            case [name]:
                full = f"{project}:{name}"
            case [namespace, name] | [namespace, "config", name]:
                full = f"{namespace}:{name}"
            case _:
                raise StackFileError(
                    f"{file}: the key {key!r} is not of the form `<namespace>:<name>`."
                )
        if full in entries:
            raise StackFileError(f"{file}: {full!r} comes twice, once in another form.")
        entries[full] = value
    return entries


def _is_secret(value: object) -> bool:
    """Return whether a value is, or contains, an encrypted one."""
    match value:
        case {"secure": _, **others} if not others:
            return True
        case dict():
            return any(map(_is_secret, value.values()))
        case list():
            return any(map(_is_secret, value))
    return False


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
            raise StackFileError(f"{path.name} is larger than {_MAX_BYTES:,} bytes.")
        content = yaml.load(raw.decode(), Loader=_EngineLoader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise StackFileError(f"There is no {path.name}; {otherwise}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StackFileError(f"{path.name} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise StackFileError(f"{path.name} is not valid YAML: {reason}.") from None
    except RecursionError:
        raise StackFileError(f"{path.name} is nested too deeply.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StackFileError(f"{path.name} is not a mapping.")
    return content
