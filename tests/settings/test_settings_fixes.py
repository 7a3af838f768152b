"""The commands that errors print, followed: they lead to a good config and break nothing else."""

from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from settings.errors import SettingsError
from tests.settings.configs import GOOD, PLAN, parsed, refusal
from tests.settings.pulumi_config import Tree, commands, run
from tests.fuzzing import examples

EVERYTHING = deepcopy(GOOD)
EVERYTHING["usagePlans"]["premium"]["keys"] = {"acme": [1, 2]}
# Not what a terminal cannot show; and the engine itself refuses a key without a name, or with a
# colon in it.
characters = st.characters(exclude_categories=["C", "Z"], exclude_characters=":")
names = st.text(characters, min_size=1, max_size=8) | st.sampled_from(
    [*GOOD, "rateLimit", "rate.Limit", "pay as you go", "basic", "AWS"]
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(characters, max_size=8)
    | st.sampled_from(["none", "true", "0.5", "1e400", "10.0.0.0/28", "-7", "007", "a@b.cd"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """The paths of all values in a config."""
    steps = tree if isinstance(tree, dict) else range(len(tree) if isinstance(tree, list) else 0)
    return [
        path for step in steps for path in [(*above, step), *places(tree[step], (*above, step))]
    ]


@st.composite
def broken_configs(draw: st.DrawFn) -> Tree:
    """A good config after a few careless edits."""
    sections = draw(st.sets(st.sampled_from([*EVERYTHING])))
    tree = deepcopy({name: EVERYTHING[name] for name in sections})
    for _ in range(draw(st.integers(0, 4))):
        here = draw(st.sampled_from([(), *places(tree)]))
        container: Any = tree
        parent: Any = None
        for step in here:
            parent, container = container, container[step]
        match draw(st.sampled_from(["replace", "remove", "add", "rename", "repeat"])), container:
            case "add", dict():
                container[draw(names)] = draw(json_values)
            case "add" | "repeat", list():
                container.append(draw(json_values | st.sampled_from(container or [1])))
            case "rename", dict() if container:
                old = draw(st.sampled_from([*container]))
                new = draw(st.sampled_from([f"{old}s", old.lower(), f"{old[1:]}x"]))
                container[new] = container.pop(old)
            case "remove", _ if parent is not None:
                del parent[here[-1]]
            case "replace", _ if parent is not None:
                parent[here[-1]] = draw(json_values)
    return tree


@examples(300)
@given(tree=broken_configs())
@example(tree={"usagePlans": {"pay as you go": {"rateLimit": 0}}})
@example(tree={"usagePlans": {"basic": {**PLAN, "quota": "none"}}})
@example(tree={"throttle": {"rateLimit": 0.12345678915, "burstLimit": 1}})
def test_following_the_commands_leads_to_a_good_config(tree: Tree) -> None:
    for _ in range(8):
        try:
            parsed(tree)
        except SettingsError as refused:
            for command in commands(str(refused)):
                run(tree, command)
        else:
            return
    pytest.fail(f"still refused after eight rounds: {refusal(tree)}")


@examples(300)
@given(tree=st.dictionaries(names, json_values, max_size=4) | broken_configs())
def test_any_config_is_either_typed_or_refused(tree: Tree) -> None:
    try:
        parsed(tree)
    except SettingsError as error:
        refused = error
    else:
        return
    assert refused.problems
    printed = commands(str(refused))
    assert len(printed) >= len(refused.problems), "every problem has its command"


@pytest.mark.parametrize(
    ("tree", "path"),
    [
        ({"function": {"memoryMb": 256, "memorymb": 512}}, ["function", "memoryMb"]),
        ({"usagePlans": {"p": {**PLAN, "quotas": 5}}}, ["usagePlans", "p", "quota"]),
    ],
)
def test_a_misspelt_setting_does_not_overwrite_the_right_one(tree: Tree, path: list[str]) -> None:
    before: Any = deepcopy(tree)
    for command in commands(refusal(tree)):
        run(tree, command)
    after: Any = tree
    for step in path:
        before, after = before[step], after[step]
    assert after == before
