"""A stack's config read from its files, as Pulumi's engine would hand it to the program.

What runs without the Pulumi CLI (the sandbox, the review, the tests) reads the same
`Pulumi.<stack>.yaml` that `pulumi up` reads.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from settings.errors import UserError


class StackFileError(UserError):
    """A project's or a stack's file is missing or cannot be read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StackConfig:
    """The config of one stack, as Pulumi's engine hands it to the program."""

    project: str
    """Name of the project, the namespace of its keys."""
    stack: str
    values: Mapping[str, str]
    """By key with its namespace: mappings and lists as JSON, anything else as text."""
    secret_keys: frozenset[str] = frozenset()
    """Keys of `values` that are, or contain, encrypted values."""


_TAG = "tag:yaml.org,2002:"
_BOOLEAN, _NULL, _NUMBER, _DATE, _MERGE, _STRING = (
    _TAG + kind for kind in ("bool", "null", "int", "timestamp", "merge", "str")
)


class _EngineLoader(yaml.SafeLoader):
    """YAML as Pulumi's engine reads it: `no` is a word, not false, and no key may come twice.

    https://github.com/go-yaml/yaml/blob/v3/resolve.go
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise _refusal(f"the key {key.value!r} comes twice", key)
            seen.add(key.value)
            key.tag = _STRING  # even one that looks like a number or a date
        return super().construct_mapping(node, deep)

    def text(self, node: yaml.ScalarNode) -> str:
        value = str(self.construct_scalar(node))
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise _refusal("found half a character", node)
        return value

    def boolean(self, node: yaml.ScalarNode) -> bool:
        if node.value.lower() not in ("true", "false"):
            raise _refusal(f"{node.value!r} is neither true nor false", node)
        return bool(node.value.lower() == "true")

    def number(self, node: yaml.ScalarNode) -> int | float | str:
        """Whole if it is; a text if no computer holds it."""
        plain = node.value.replace("_", "")
        try:
            octal = re.fullmatch("([+-]?)0([0-7]+)", plain)
            whole = int(octal[1] + octal[2], 8) if octal else int(plain, 0)
            if -(2**63) <= whole < 2**64:
                return whole
        except ValueError:
            pass  # not whole, or too long even to look at
        try:
            value = float(plain)
        except ValueError:
            raise _refusal(f"{node.value!r} is not a number", node) from None
        if not math.isfinite(value):
            return str(node.value)
        return int(value) if value.is_integer() and abs(value) < 1e21 else value

    def moment(self, node: yaml.ScalarNode) -> str:
        """A date as the engine writes it, or a text that only looks like one."""
        try:
            year, month, day = map(int, node.value.split("-"))
            return f"{date(year, month, day)}T00:00:00Z"
        except ValueError:
            return self.text(node)


def _refusal(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


_EngineLoader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [(tag, pattern) for tag, pattern in resolvers if tag in (_NULL, _MERGE)])
}
for _tag, _pattern, _first in (
    (_BOOLEAN, "true|True|TRUE|false|False|FALSE", "tTfF"),
    (_DATE, "[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", "0123456789"),
    (_NUMBER, "[+-]?(0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+)", "+-0"),
    (_NUMBER, r"[+-]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][+-]?[0-9]+)?", "+-.0123456789"),
):
    _EngineLoader.add_implicit_resolver(_tag, re.compile(f"^(?:{_pattern})$"), list(_first))
# Of what else YAML has (sets, bytes, ...), a config has nothing.
_EngineLoader.yaml_constructors = {
    None: yaml.SafeLoader.construct_undefined,
    _NULL: yaml.SafeLoader.construct_yaml_null,
    _TAG + "seq": yaml.SafeLoader.construct_yaml_seq,
    _TAG + "map": yaml.SafeLoader.construct_yaml_map,
    _STRING: _EngineLoader.text,
    _BOOLEAN: _EngineLoader.boolean,
    _NUMBER: _EngineLoader.number,
    _TAG + "float": _EngineLoader.number,
    _DATE: _EngineLoader.moment,
}


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
    name = _mapping(root / "Pulumi.yaml", "run this in the project's folder").get("name")
    if not isinstance(name, str):
        raise StackFileError(f"{root / 'Pulumi.yaml'} has no `name`.")
    return name


def stack_names(root: Path | None = None) -> list[str]:
    """Return the names of the stacks that have a config file, sorted."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        for path in (root or project_root()).glob("Pulumi.*.yaml")
    )


def read_stack(stack: str, root: Path | None = None) -> StackConfig:
    """Read a stack's config from its file.

    Args:
        stack: name of the stack.
        root: the project's folder; None for the one that holds the current folder.

    Raises:
        StackFileError: when the file is missing, is not YAML, or holds no `config` mapping.
    """
    root = root or project_root()
    project = project_name(root)
    path = root / f"Pulumi.{stack}.yaml"
    known = ", ".join(stack_names(root)) or "none"
    config = _mapping(path, f"stacks with a config here: {known}").get("config")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise StackFileError(f"{path.name}: `config` is not a mapping of settings.")
    values: dict[str, str] = {}
    secrets: set[str] = set()
    for key, value in config.items():
        full = _full(project, key)
        if full is None:
            raise StackFileError(
                f"{path.name}: the key {key!r} is not of the form `<namespace>:<name>`."
            )
        if full in values:
            raise StackFileError(f"{path.name}: {full!r} comes twice, once in another form.")
        values[full] = _as_handed_over(value)
        if _is_secret(value):
            secrets.add(full)
    return StackConfig(
        project=project, stack=stack, values=values, secret_keys=frozenset(secrets)
    )


def _full(project: str, key: str) -> str | None:
    """A key with its namespace, as the engine understands it; None when it does not.

    The project's namespace may be left out, and an old form has `config` in between.
    https://github.com/pulumi/pulumi/blob/master/sdk/go/common/resource/config/key.go
    """
    match key.split(":"):
        case [name]:
            return f"{project}:{name}"
        case [namespace, name] | [namespace, "config", name]:
            return f"{namespace}:{name}"
    return None


def _is_secret(value: object) -> bool:
    """Whether a value is, or contains, an encrypted one."""
    todo = [value]
    while todo:
        match todo.pop():
            case {"secure": _, **others} if not others:
                return True
            case dict() as mapping:
                todo += mapping.values()
            case list() as items:
                todo += items
    return False


def _as_handed_over(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _mapping(path: Path, otherwise: str) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_EngineLoader)  # noqa: S506  a SafeLoader
        json.dumps(content)
    except FileNotFoundError:
        raise StackFileError(f"There is no {path.name}; {otherwise}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StackFileError(f"{path.name} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise StackFileError(f"{path.name} is not valid YAML: {reason}.") from None
    except RecursionError:
        raise StackFileError(f"{path.name} is nested too deeply.") from None
    except ValueError:  # from json: an anchor within which it is referred to
        raise StackFileError(f"{path.name} contains itself.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StackFileError(f"{path.name} is not a mapping.")
    return content
