"""A stack's config read from its files, as Pulumi's engine would hand it to the program.

What runs without the Pulumi CLI (the sandbox, the review, the tests) reads the same
`Pulumi.<stack>.yaml` that `pulumi up` reads.
"""

import json
import re
from pathlib import Path
from typing import Any

import yaml


class StackFileError(Exception):
    """A project's or a stack's file is missing or cannot be read; says which, and what to do."""


_BOOLEAN = "tag:yaml.org,2002:bool"
_MERGE = "tag:yaml.org,2002:merge"
_STRING = "tag:yaml.org,2002:str"


class _EngineLoader(yaml.SafeLoader):
    """YAML as Pulumi's engine reads it: `no` is a word, not false, and no key may come twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} comes twice", key.start_mark
                )
            seen.add(key.value)
            key.tag = _STRING  # even one that looks like a number or a date
        return super().construct_mapping(node, deep)


_EngineLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOLEAN]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_EngineLoader.add_implicit_resolver(
    _BOOLEAN, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


def project_name(root: Path) -> str:
    """The name that `Pulumi.yaml` in `root` gives the project."""
    name = _mapping(root / "Pulumi.yaml", "run this in the project's folder").get("name")
    if not isinstance(name, str):
        raise StackFileError(f"{root / 'Pulumi.yaml'} has no `name`.")
    return name


def stack_names(root: Path) -> list[str]:
    """The stacks that have a config file in `root`, sorted."""
    return sorted(
        path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        for path in root.glob("Pulumi.*.yaml")
    )


def read_stack(root: Path, stack: str) -> dict[str, str]:
    """A stack's config: mappings and lists as JSON, anything else as text.

    Raises:
        StackFileError: when the file is missing, is not YAML, or holds no `config` mapping.
    """
    path = root / f"Pulumi.{stack}.yaml"
    known = ", ".join(stack_names(root)) or "none"
    config = _mapping(path, f"stacks with a config here: {known}").get("config")
    if config is None:
        config = {}
    if not isinstance(config, dict):
        raise StackFileError(f"{path.name}: `config` is not a mapping of settings.")
    return {_full(root, key): _as_handed_over(value) for key, value in config.items()}


def secret_keys(root: Path, stack: str) -> list[str]:
    """Keys of the config that are, or contain, encrypted values."""
    config = _mapping(root / f"Pulumi.{stack}.yaml", "no such stack").get("config") or {}
    return [_full(root, key) for key, value in config.items() if _is_secret(value)]


def _full(root: Path, key: str) -> str:
    """A key with its namespace: Pulumi lets the project's be left out."""
    return key if ":" in key else f"{project_name(root)}:{key}"


def _is_secret(value: object) -> bool:
    if isinstance(value, dict):
        return set(value) == {"secure"} or any(_is_secret(item) for item in value.values())
    return isinstance(value, list) and any(_is_secret(item) for item in value)


def _as_handed_over(value: object) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value, default=str)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _mapping(path: Path, otherwise: str) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text("utf-8"), Loader=_EngineLoader)  # noqa: S506  a SafeLoader
    except FileNotFoundError:
        raise StackFileError(f"There is no {path.name}; {otherwise}.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise StackFileError(f"{path.name} cannot be read: {error}.") from None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise StackFileError(f"{path.name} is not valid YAML: {reason}.") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise StackFileError(f"{path.name} is not a mapping.")
    return content
