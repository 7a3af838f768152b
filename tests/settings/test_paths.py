"""Changes to try on a stack: `--set` does what `pulumi config set --path` does."""

import json

import pytest

from settings import UserError, load_stack
from settings.paths import config_key, parse_path, set_path
from tests.settings.configs import FIXTURES

SET = [
    (None, "a", "5", "5"),
    ("{}", "a", "0.5", "0.5"),
    (None, "a.b", "5", {"b": 5}),
    (None, "a.b.c", "x", {"b": {"c": "x"}}),
    (None, "a[0]", "x", ["x"]),
    (None, "a[2]", "x", [None, None, "x"]),
    (None, "a.b[0].c", "true", {"b": [{"c": True}]}),
    ('{"b": 1, "c": 2}', "a.b", "false", {"b": False, "c": 2}),
    ('{"b": null}', "a.b.c", "1", {"b": {"c": 1}}),
    ('{"b": {"c": 1}}', "a.b", "x", {"b": "x"}),
    ("[1, 2]", "a[1]", "7", [1, 7]),
    ("[1, 2]", "a[2]", "7", [1, 2, 7]),
    ("[null]", "a[0].b", "7", [{"b": 7}]),
    # Only at the top level Pulumi replaces another value by a mapping or a list.
    ("5", "a.b", "1", {"b": 1}),
    ("text", "a[0]", "1", [1]),
    ("[broken", "a[0]", "1", [1]),
    # Only whole numbers, true and false are typed.
    *(
        ("{}", "a.b", typed, {"b": value})
        for typed, value in [
            *(("0", 0), ("-5", -5), ("+5", 5), ("007", "007"), ("0x10", "0x10")),
            *(("1e3", "1e3"), ("1.5", "1.5"), ("1_000", "1_000"), (" 5", " 5")),
            *(("True", "True"), ("null", "null"), ("none", "none"), ("", "")),
            *(("[1]", "[1]"), ('{"a": 1}', '{"a": 1}')),
        ]
    ),
    # Paths
    (None, 'a["b.c"]', "1", {"b.c": 1}),
    (None, 'a["POST /data"].b', "1", {"POST /data": {"b": 1}}),
    (None, "a.POST /data.b", "1", {"POST /data": {"b": 1}}),
    (None, r'a["x\"y"]', "1", {'x"y': 1}),
    (None, "a..b", "1", {"b": 1}),
]


def test_a_path_is_set_as_pulumi_sets_it() -> None:
    for there, path, value, after in SET:
        first, *rest = parse_path(path)
        assert first == "a"
        found = set_path(there, tuple(rest), value)
        assert (json.loads(found) if rest else found) == after, path


REFUSED = [
    ("{}", "a[0]"),
    ("[]", "a.b"),
    ("[1]", "a[2]"),
    ('{"b": 5}', "a.b.c"),
    ('{"b": "x"}', "a.b[0]"),
]


def test_a_path_that_pulumi_refuses_is_refused() -> None:
    for there, path in [*REFUSED, (None, "a[10000000]")]:
        with pytest.raises(LookupError):
            set_path(there, parse_path(path)[1:], "1")


NOT_PATHS = ["", ".", ".a", "a.", "a.[0]", "[0]", "a[", "a[x]", 'a["b]', 'a["b"', "a]["]


def test_a_key_is_read_back_as_it_is_written() -> None:
    for path in [("a", "b-c", 0), ("a", "POST /data", 'x"y', "[z]", 12), ("a.b",)]:
        assert parse_path(config_key("", path)[1:]) == path
    for text in NOT_PATHS:
        assert parse_path(text) == ()


def test_changes_are_tried_one_after_the_other() -> None:
    changes = [
        "usagePlans.basic.rateLimit=7",
        "fixture-api:usagePlans.basic.keys.default[0]=1",
        "usagePlans.basic.keys.default[1]=2",
        'throttle.methods["POST /data"].rateLimit=40',
        'throttle.methods["POST /data"].burstLimit=40',
        "aws:region=eu-south-1",
        "deletionProtection=true",
        "stageName=a-b",
    ]
    settings = load_stack("dev", changes, FIXTURES)
    plan = settings.usage_plans["basic"]
    assert (plan.rate_limit, plan.burst_limit, [*plan.api_keys()]) == (
        *(7, 10),
        [("default", 1), ("default", 2)],
    )
    assert settings.throttle.methods["POST /data"].rate_limit == 40
    assert (settings.region, settings.deletion_protection) == ("eu-south-1", True)
    assert settings.stage_name == "a-b"
    assert load_stack("dev", root=FIXTURES).usage_plans["basic"].rate_limit == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("usagePlans", "--set usagePlans: write a setting and its value, such as usagePlans."),
        ("=5", "write a setting and its value"),
        ("a..=5", "write a setting and its value"),
        ("a" + ".a" * 5000 + "=5", "write a setting and its value"),
        ("a\x1b[=5", r"--set a\\x1b\[=5: write a setting"),
        ("usagePlans[0]=5", "there is no such place; fixture-api:usagePlans is {"),
        ("stageName.x.y=5", "stageName: {'x': {'y': 5}} is not allowed"),
        ("throttle.rateLimit.x=5", "there is no such place"),
        ("throttle.rateLimit=0", "throttle.rateLimit: 0 is not allowed"),
        ("thrttle.rateLimit=0", r"did you mean throttle\?"),
    ],
)
def test_a_change_that_cannot_be_made_is_refused(change: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_stack("dev", [change], FIXTURES)
