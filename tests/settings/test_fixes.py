"""Following the commands that errors print leads to a good config that keeps what was meant."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from settings import SettingsError, StackConfig, parse_settings
from settings.errors import wrong_values
from settings.json_schema import json_schema
from settings.schema import Config, _Section
from settings.values import Whole
from tests.fuzzing import examples
from tests.settings.configs import (
    GOOD,
    PLAN,
    PROJECT,
    Tree,
    commands,
    follow,
    typed,
)

EVERYTHING = deepcopy(GOOD)
EVERYTHING["usagePlans"]["premium"]["keys"] = {"acme": [1, 2]}
# Without what a terminal cannot show, a colon, which the engine refuses in a key, and a backslash,
# which no path can hold before a quote.
characters = st.characters(exclude_categories=["C", "Z"], exclude_characters=":\\")
names = st.text(characters, min_size=1, max_size=8) | st.sampled_from(
    [*GOOD, "rateLimit", "rate.Limit", "network.cidr", "pay as you go", "basic", "AWS", "[key]"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(characters, max_size=8)
    | st.sampled_from(["none", "true", "0.5", "1e400", "10.0.0.0/28", "-7", "007", "a@b.cd"])
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
    max_leaves=5,
)


def places(tree: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """Return the paths of all values in a config."""
    steps = tree if isinstance(tree, dict) else range(len(tree) if isinstance(tree, list) else 0)
    return [
        path for step in steps for path in [(*above, step), *places(tree[step], (*above, step))]
    ]


def inside(tree: Any, path: tuple[Any, ...]) -> Any:  # noqa: ANN401
    for step in path:
        tree = tree[step]
    return tree


@st.composite
def broken_configs(draw: st.DrawFn) -> Tree:
    """A good config after a few careless edits."""
    sections = draw(st.sets(st.sampled_from([*EVERYTHING])))
    tree = deepcopy({name: EVERYTHING[name] for name in sections})
    for _ in range(draw(st.integers(0, 4))):
        here = draw(st.sampled_from([(), *places(tree)]))
        container: Any = inside(tree, here)
        parent: Any = inside(tree, here[:-1]) if here else None
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
@given(tree=broken_configs() | st.dictionaries(names, json_values, max_size=4))
@example(tree={"usagePlans": {"pay as you go": {"rateLimit": 0}}})
@example(tree={"usagePlans": {"basic": {**PLAN, "quota": "none"}}})
@example(tree={"throttle": {"rateLimit": 0.12345678915, "burstLimit": 1}})
@example(tree={"waf": {"managedRuleGroups": [{"name": "Bots", "wcu": 5000}] * 3}})
def test_following_the_commands_leads_to_a_good_config(tree: Tree) -> None:
    for refused in follow(tree):
        problems = [line for line in refused.split("\n") if line.startswith(f"  {PROJECT}:")]
        assert refused.startswith(f"{len(problems)} problem")
        assert len(commands(refused)) >= len(problems), "every problem has its command"


texts = st.text() | json_values.map(json.dumps)
keys = names.map(lambda name: f"{PROJECT}:{name}") | st.text() | st.just("aws:region")


@examples(200)
@given(values=st.dictionaries(keys, texts, max_size=4), secret=st.booleans())
def test_any_text_is_typed_or_refused_in_printable_lines(
    values: dict[str, str], secret: bool
) -> None:
    hidden = frozenset(values if secret else ())
    config = StackConfig(project=PROJECT, stack="dev", values=values, secret_keys=hidden)
    said = ""
    try:
        parse_settings(config)
    except SettingsError as error:
        said = str(error)
    assert all(line.isprintable() for line in said.split("\n"))


# Mistakes that keep the meaning


SETTINGS = {path[-1] for path in places(EVERYTHING) if isinstance(path[-1], str)} - {
    *("basic", "premium", "acme", "POST /data")  # names, which cannot be misspelt
}


@st.composite
def with_mistakes(draw: st.DrawFn, tree: Tree) -> Tree:
    """Draw a config with mistakes that leave its meaning clear."""
    mistakes = ["misspelt", "without --path", "lower case", "yes or no", "no list", "decimal"]
    for mistake in draw(st.lists(st.sampled_from(mistakes), min_size=1, max_size=3)):
        path = draw(st.sampled_from([place for place in places(tree) if "." not in place[-1:]]))
        parent, name = inside(tree, path[:-1]), path[-1]
        match mistake, parent[name]:
            case "misspelt", value if name in SETTINGS:
                letters = (name[:-1], f"{name}s", name.lower(), f"{name[0]}_{name[1:]}")
                parent.pop(name)
                parent[next(word for word in letters if word not in parent)] = value
            case "without --path", str() | int() | float() as value if len(path) > 1 and all(
                isinstance(step, str) and step.isalnum() for step in path
            ):
                tree[".".join(path)] = value
                del parent[name]
            case "lower case", str() as value if name in ("period", "aggregateBy", "architecture"):
                parent[name] = value.lower()
            case "yes or no", bool() as value:
                parent[name] = "on" if value else "no"
            case "no list", [value]:
                parent[name] = value
            case "decimal", int() as value if not isinstance(value, bool):
                parent[name] = f"{value}.0"
    return tree


MEANT = deepcopy(EVERYTHING)
MEANT["monitoring"]["thresholds"] |= {"functionErrors": 7, "serverErrors": 9}


@examples(200)
@given(tree=st.builds(deepcopy, st.just(MEANT)).flatmap(with_mistakes))
def test_following_the_commands_keeps_what_was_meant(tree: Tree) -> None:
    follow(tree)
    assert typed(tree) == typed(MEANT)


# A new setting


class Cache(_Section):
    """An optional section."""

    seconds: Whole = Field(ge=1, le=60)


class More(Config):
    """The config with one line more."""

    cache: Cache | None = None


@pytest.mark.parametrize(
    ("cache", "message", "commands"),
    [
        ({}, "seconds: is missing. Allowed: a whole number from 1 to 60.", [("seconds", "1")]),
        ({"seconds": 99}, "seconds: 99 is not allowed.", [("seconds", "60")]),
        (
            {"second": 7},
            "second: is not a setting (did you mean seconds?).",
            [("second", None), ("seconds", "7")],
        ),
    ],
)
def test_an_optional_section_has_errors_like_any_other(
    cache: object, message: str, commands: list[tuple[str, str | None]]
) -> None:
    given = {"cache": cache}
    with pytest.raises(ValidationError) as refused:
        More.model_validate(given)
    [problem] = wrong_values(refused.value, json_schema(More), given)
    assert problem.text("", "dev").startswith(f":cache.{message}")
    assert [(path[-1], value and str(value)) for path, value in problem.commands] == commands
    assert More.model_validate({"cache": {"seconds": "5"}}).cache == Cache(seconds=5)
    assert More.model_validate({}).cache is None
