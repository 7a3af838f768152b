"""Configs that tests start from, what becomes of them, and the commands that errors print."""

import json
import shlex
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

import pytest

from settings import Settings, SettingsError, StackConfig, parse_settings, paths, read_stack
from settings.paths import set_path, value_of

PROJECT: Final = "fixture-api"
STACK: Final = "dev"

Tree = dict[str, Any]
"""A stack's config below the project's namespace, as its file holds it."""

FIXTURES: Final = Path(__file__).parents[1] / "stacks"
"""A project's folder, with stacks dev and prod."""
PLAN: Final[Tree] = {"rateLimit": 5, "burstLimit": 10, "quota": {"limit": 20_000}}


def _good() -> Tree:
    """Return the fixture stack dev, whose limits agree with each other, with more of everything."""
    given = read_stack("dev", FIXTURES).values
    tree = {key.partition(":")[2]: value_of(text) for key, text in given.items()}
    del tree["region"]
    tree["throttle"]["methods"] = {"POST /data": {"rateLimit": 5, "burstLimit": 10}}
    tree["usagePlans"] |= {"basic": PLAN}
    tree["usagePlans"]["premium"]["clients"] = ["acme", "default"]
    tree["waf"]["managedRuleGroups"] = ["AWSManagedRulesCommonRuleSet"]
    tree["waf"]["shadow"] = {"rateLimit": 1000, "windowSeconds": 60}
    tree["monitoring"]["alarmEmails"] = ["ops@example.com"]
    return tree


GOOD: Final = _good()


def text(value: object) -> str:
    """Return a value at the top level as the engine passes it."""
    if isinstance(value, bool | dict | list):
        return json.dumps(value)
    return "" if value is None else str(value)


def stack_config(
    tree: Tree, stack: str = STACK, *, project: str = PROJECT, **others: str
) -> StackConfig:
    """Return a config as the engine passes it; `others` are settings of the AWS provider."""
    values = {f"{project}:{name}": text(value) for name, value in tree.items()}
    values |= {f"aws:{name}": value for name, value in others.items()}
    return StackConfig(project=project, stack=stack, values=values)


def parsed(tree: Tree, **others: str) -> Settings:
    """Return the settings that a config becomes."""
    return parse_settings(stack_config(tree, **others))


def typed(tree: Tree) -> Tree:
    """Return the settings that a config becomes as a file would hold them, with all defaults."""
    names = {"project", "stack", "region", "profile"}
    return parsed(tree).model_dump(by_alias=True, mode="json", exclude=names)


def refusal(tree: Tree, **others: str) -> str:
    """Return the text with which a config is refused."""
    with pytest.raises(SettingsError) as refused:
        parsed(tree, **others)
    return str(refused.value)


def changed(*assignments: str) -> Tree:
    """Return GOOD after `pulumi config set --path` of each `key value`."""
    tree = deepcopy(GOOD)
    for assignment in assignments:
        key, value = assignment.rsplit(" ", 1)
        run(tree, f"pulumi config set --path '{PROJECT}:{key}' {value} --stack {STACK}")
    return tree


def commands(message: str) -> list[str]:
    """Return the commands that an error or a warning prints."""
    lines = (line.strip() for line in message.split("\n"))
    return [line for line in lines if line.startswith("pulumi ")]


def run(tree: Tree, command: str) -> None:
    """Do to `tree` what a `pulumi config` command does to the config of the stack."""
    match shlex.split(command):
        case ["pulumi", "config", "set", "--path", key, value, "--stack", "dev"]:
            assert not value.startswith("-"), f"the shell takes {value} for an option"
            first, *rest = _path(key)
            first = str(first)
            there = text(tree[first]) if first in tree else None
            after = set_path(there, tuple(rest), value)
            tree[first] = json.loads(after) if rest else after
        case ["pulumi", "config", "rm", "--path", key, "--stack", "dev"]:
            _remove(tree, _path(key))
        case _:
            pytest.fail(f"not a command of this stack: {command}")


def follow(tree: Tree) -> list[str]:
    """Run the commands of all errors about a config until it is accepted; return the errors."""
    errors: list[str] = []
    while len(errors) < 6:
        try:
            parsed(tree)
        except SettingsError as refused:
            errors.append(str(refused))
        else:
            return errors
        for command in commands(errors[-1]):
            run(tree, command)
    return pytest.fail(f"still refused: {errors[-1]}")


def _path(key: str) -> paths.Path:
    project, _, rest = key.partition(":")
    assert project == PROJECT
    path = paths.parse_path(rest)
    assert path, f"not a path: {key}"
    return path


def _remove(tree: Any, path: paths.Path) -> None:  # noqa: ANN401  JSON
    *parents, last = path
    for step in parents:
        items: Tree = tree if isinstance(tree, dict) else dict(enumerate(tree or []))  # type: ignore[arg-type]
        tree = items.get(step)  # type: ignore[arg-type]
    if isinstance(tree, dict):
        tree.pop(last, None)
    elif isinstance(tree, list) and isinstance(last, int):
        del tree[last : last + 1]
