"""The commands that errors print, followed: they lead to a good config with what was meant."""

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
from settings.paths import config_key
from settings.schema import Config, _Section
from settings.values import Name, Whole
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


def misspelt(tree: Tree, path: tuple[Any, ...]) -> bool:
    parent, name = inside(tree, path[:-1]), path[-1]
    if name not in SETTINGS:
        return False
    for letters in (name[:-1], f"{name}s", name.lower(), f"{name[0]}_{name[1:]}"):
        if letters not in parent:
            parent[letters] = parent.pop(name)
            return True
    return False


def without_path(tree: Tree, path: tuple[Any, ...]) -> bool:
    value = inside(tree, path)
    if len(path) < 2 or isinstance(value, dict | list) or not all(map(str.isalnum, map(str, path))):
        return False
    tree[".".join(map(str, path))] = inside(tree, path[:-1]).pop(path[-1])
    return not any(isinstance(step, int) for step in path)


def in_lower_case(tree: Tree, path: tuple[Any, ...]) -> bool:
    value = inside(tree, path)
    if path[-1] not in ("period", "aggregateBy", "architecture", "runtime"):
        return False
    inside(tree, path[:-1])[path[-1]] = str(value).lower()
    return True


def as_yes_or_no(tree: Tree, path: tuple[Any, ...]) -> bool:
    value = inside(tree, path)
    if isinstance(value, bool):
        inside(tree, path[:-1])[path[-1]] = "on" if value else "no"
    return isinstance(value, bool)


def not_in_a_list(tree: Tree, path: tuple[Any, ...]) -> bool:
    value = inside(tree, path)
    if not isinstance(value, list) or len(value) != 1:
        return False
    inside(tree, path[:-1])[path[-1]] = value[0]
    return True


def as_a_decimal(tree: Tree, path: tuple[Any, ...]) -> bool:
    value = inside(tree, path)
    if not isinstance(value, int) or isinstance(value, bool):
        return False
    inside(tree, path[:-1])[path[-1]] = f"{value}.0"
    return True


MISTAKES = [misspelt, without_path, in_lower_case, as_yes_or_no, not_in_a_list, as_a_decimal]


@examples(200)
@given(data=st.data(), mistakes=st.lists(st.sampled_from(MISTAKES), min_size=1, max_size=3))
def test_following_the_commands_keeps_what_was_meant(data: st.DataObject, mistakes: Any) -> None:  # noqa: ANN401
    tree = deepcopy(EVERYTHING)
    tree["monitoring"]["thresholds"] |= {"functionErrors": 7, "serverErrors": 9}
    meant = typed(tree)
    for mistake in mistakes:
        path = data.draw(
            st.sampled_from([place for place in places(tree) if "." not in place[-1:]])
        )
        before = deepcopy(tree)
        if not mistake(tree, path):
            tree = before
    follow(tree)
    assert typed(tree) == meant


# A new setting


class Cache(_Section):
    """An optional section."""

    seconds: Whole = Field(ge=1, le=60, examples=[5])
    names: list[Name] = Field([])


class More(Config):
    """The config with one line more."""

    cache: Cache | None = None


@pytest.mark.parametrize(
    ("cache", "message", "commands"),
    [
        (
            {},
            "cache.seconds: is missing. Allowed: a whole number from 1 to 60.",
            ["set cache.seconds 5"],
        ),
        ({"seconds": 99}, "cache.seconds: 99 is not allowed.", ["set cache.seconds 60"]),
        (
            {"second": 7},
            "cache.second: is not a setting (did you mean seconds?).",
            ["rm cache.second", "set cache.seconds 7"],
        ),
        (
            {"seconds": 5, "names": ["a b"]},
            "cache.names[0]: 'a b' is not allowed.",
            ["set cache.names[0] a-b"],
        ),
        (5, "cache: 5 is not allowed. Allowed: a mapping of seconds, names.", ["rm cache"]),
    ],
)
def test_an_optional_section_has_errors_like_any_other(
    cache: object, message: str, commands: list[str]
) -> None:
    given = {"cache": cache}
    with pytest.raises(ValidationError) as refused:
        More.model_validate(given)
    [problem] = wrong_values(refused.value, json_schema(More), given)
    assert problem.text("", "dev").startswith(f":{message}")
    assert [
        f"rm {config_key('', path)[1:]}"
        if value is None
        else f"set {config_key('', path)[1:]} {value}"
        for path, value in problem.commands
    ] == commands
    assert More.model_validate({"cache": {"seconds": "5"}}).cache == Cache(seconds=5)
    assert More.model_validate({}).cache is None
