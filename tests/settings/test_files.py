"""The project's files: read as Pulumi's engine reads them, and what the fixture stacks hold."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from settings import (
    StackConfig,
    UserError,
    load_stack,
    project_root,
    read_stack,
    stack_names,
)
from tests.settings.configs import PROJECT

Read = Callable[..., StackConfig]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads stack dev of a project whose files have this content."""

    def read(dev: str | bytes, project: str = "", stack: str = "dev") -> StackConfig:
        (tmp_path / "Pulumi.yaml").write_text(f"name: {PROJECT}\nruntime: python\n{project}")
        (tmp_path / "Pulumi.prod.yaml").write_text("config: {}\n")
        (tmp_path / "Pulumi.dev.yaml").write_bytes(dev if isinstance(dev, bytes) else dev.encode())
        return read_stack(stack, tmp_path)

    return read


@pytest.fixture
def refusal(read: Read) -> Callable[..., str]:
    """Returns the one line with which such a file is refused."""

    def refusal(*args: Any) -> str:  # noqa: ANN401  passed on
        with pytest.raises(UserError) as refused:
            read(*args)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return refusal


def values(config: StackConfig) -> dict[str, Any]:
    """Return a config's values below the project's namespace, with what is JSON decoded."""
    return {
        key.removeprefix(f"{PROJECT}:"): json.loads(value) if value[:1] in ("[", "{") else value
        for key, value in config.values.items()
    }


# As the engine reads them


VALUES: list[tuple[str, object]] = [
    *((word, word) for word in ("no", "No", "off", "yes", "on", "y", "n", "tRue", "nUll")),
    *((word, True) for word in ("true", "True", "TRUE")),
    *((word, False) for word in ("false", "False", "FALSE")),
    *((word, None) for word in ("~", "null", "Null", "NULL", "")),
    *(("017", 15), ("0o17", 15), ("0x1F", 31), ("0X1F", 31), ("+0x1F", 31), ("0b11", 3)),
    *(("-0b1", -1), ("08", 8), ("00", 0), ("007.5", 7.5), ("1_000", 1000), ("1_", 1)),
    *(("1e3", 1000), ("1.5e+3", 1500), ("0.1e-2", 0.001), ("1.", 1), (".5", 0.5), ("+5", 5)),
    *(("-5", -5), ("'5'", "5"), ("!!str 5", "5"), ("12.0", 12), ("9.2e18", 92 * 10**17)),
    *((str(number), number) for number in (2**63 - 1, -(2**63), 2**53 + 1)),
    *((word, word) for word in ("0x", "0o99", "_1", "1e", "1:30", "12:30:45", "=", "10000-01-01")),
    *(("-_1", -1), ("+_1.5_0", 1.5), (".1_", ".1_"), (".1_5", 0.15), ("_0x1", "_0x1")),
    *((word, word) for word in (".infinity", "1.2.3", "1٢", "2024-01", "nan")),
]


@pytest.mark.parametrize(("written", "read_as"), VALUES, ids=lambda value: str(value)[:20])
def test_a_value_is_the_one_that_the_engine_reads(
    read: Read, written: str, read_as: object
) -> None:
    [found] = values(read(f"config: {{a: [{written}]}}" if written else "config: {a: [~]}"))["a"]
    assert found == read_as
    assert type(found) is type(read_as)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("config: {a: {1: x, true: z, 0x10: w, no: v, ~: u}}", {
            "a": {"1": "x", "true": "z", "16": "w", "no": "v", "<nil>": "u"}
        }),
        ("config: {a: &a {b: 1, c: 2}, d: {<<: *a, c: 3}}", {
            "a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}
        }),
        ("b: &b {x: 0}\nconfig: {p: {q: &q {<<: *b, x: 1}}, d: {<<: *q, c: 3}}", {
            "p": {"q": {"x": 1}}, "d": {"x": 1, "c": 3}
        }),
        ("config: {<<: {fixture-api:a: 1}}", {"a": "1"}),
        ("config: {a: 1, fixture-api:config:b: 2, x:c: 3}", {"a": "1", "b": "2", "x:c": "3"}),
        ("config: {a: {b: 0.5, c: [1, '2', no, ~, True]}}", {
            "a": {"b": 0.5, "c": [1, "2", "no", None, True]}
        }),
        ("config: {a: 2024, b: True, c: 0.5, d: , e: no}", {
            "a": "2024", "b": "true", "c": "0.5", "d": "", "e": "no"
        }),
        ("\ufeffconfig: {a: 1}", {"a": "1"}),
        ("", {}),
        ("config:\n", {}),
        ("secretsprovider: awskms\nencryptedkey: abc\n", {}),
    ],
)  # fmt: skip
def test_keys_anchors_and_empty_files_are_read(
    read: Read, content: str, expected: dict[str, Any]
) -> None:
    assert values(read(content)) == expected


def test_secrets_are_found_however_deep(read: Read) -> None:
    config = read(
        """
        config:
          plain: {secured: x}
          named: {secure: a, other: b}
          fixture-api:whole: {secure: AAAB}
          fixture-api:nested: {a: [1, {b: {secure: AAAB}}]}
          aws:token: {secure: AAAB}
        """
    )
    assert config.secret_keys == {"fixture-api:whole", "fixture-api:nested", "aws:token"}


@pytest.mark.parametrize(
    ("project", "expected"),
    [
        (
            "aws:region: eu-south-1, fixture-api:waf: {value: {rateLimit: 10}}, stageName: live",
            {"aws:region": "eu-south-1", "waf": {"rateLimit": 10}, "stageName": "live"},
        ),
        ("list: [1, {b: no}], rate: {default: 0.5}", {"list": [1, {"b": "no"}], "rate": "0.5"}),
        ("a: {type: integer, default: 5}, other: {type: string}", {"a": "5"}),
        ("throttle: {value: {burstLimit: 1, rateLimit: 1}}", {}),
    ],
)
def test_the_projects_config_fills_what_the_stack_does_not_set_key_by_key(
    read: Read, project: str, expected: dict[str, Any]
) -> None:
    own = "config: {throttle: {burstLimit: 7}, other: 1}"
    config = read(own, f"config: {{{project}}}")
    assert values(config) == {"throttle": {"burstLimit": 7}, "other": "1", **expected}


def test_a_stack_with_an_environment_gets_a_warning_that_its_values_are_missing(
    read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    read("environment: [aws/dev]\nconfig: {a: 1}\n")
    assert caplog.messages == [
        "Pulumi.dev.yaml: values from its `environment` (Pulumi ESC) cannot be read here, so these "
        "limits may not be those of the stack."
    ]


# Where they are


def test_the_project_is_the_nearest_folder_with_a_pulumi_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    with pytest.raises(UserError, match=r"There is no Pulumi.yaml in .* or above"):
        project_root()
    (tmp_path / "Pulumi.yaml").write_text("name: api\n")
    (tmp_path / "Pulumi.dev.yaml").write_text("config: {stageName: x}\n")
    assert project_root() == tmp_path.resolve()
    assert stack_names() == ["dev"]
    assert load_stack("dev").stage_name == "x"


def test_stack_files_may_be_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "stacks").mkdir()
    (tmp_path / "Pulumi.yaml").write_text("name: api\nstackConfigDir: ./stacks\n")
    (tmp_path / "stacks" / "Pulumi.dev.yaml").write_text("config: {a: 1}\n")
    assert stack_names(tmp_path) == ["dev"]
    assert read_stack("dev", tmp_path).values == {"api:a": "1"}


def test_only_files_of_stacks_are_stacks(tmp_path: Path) -> None:
    for name in ("yaml", "dev.yaml", "dev.deploy.yaml", "b.c.yaml", "a b.yaml", "..yaml"):
        (tmp_path / f"Pulumi.{name}").write_text("name: api\n")
    assert stack_names(tmp_path) == ["b.c", "dev"]


@pytest.mark.parametrize("name", ["", "..", "../x", "/etc/x", "a b", "a\n", "é", "x" * 101])
def test_an_invalid_stack_name_is_refused_before_a_file_is_looked_for(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UserError, match=r"is not a stack's name: 1 to 100 letters"):
        read_stack(name, tmp_path / "nowhere")


# Errors about files that cannot be read


def test_a_missing_stack_lists_those_that_are_there(
    read: Read, refusal: Callable[..., str], tmp_path: Path
) -> None:
    said = refusal("", "", "staging")
    assert said == "There is no Pulumi.staging.yaml; stacks with a config here: dev, prod."
    for stack in ("dev", "prod"):
        (tmp_path / f"Pulumi.{stack}.yaml").unlink()
    with pytest.raises(UserError, match=r"There is no Pulumi.dev.yaml; stacks .* here: none"):
        read_stack("dev", tmp_path)


@pytest.mark.parametrize(
    ("project", "said"),
    [
        (None, "There is no Pulumi.yaml; run this in the project's folder."),
        ("runtime: python\n", "Pulumi.yaml has no `name`."),
        ("name: 5\n", "Pulumi.yaml has no `name`."),
        ("name: a\nconfig: 5\n", "Pulumi.yaml: `config` is not a mapping of settings."),
        ("name: a\nconfig: {waf.rateLimit: 10}\n", "Pulumi.yaml: a:waf.rateLimit is a path."),
        (
            "name: a\nconfig: {waf: {rateLimit: 10}}\n",
            "Pulumi.yaml: a:waf has 'rateLimit' beside or instead of `value`.",
        ),
        (
            "name: a\nconfig: {waf: {type: integer}}\n",
            "Pulumi.dev.yaml: a:waf is missing, and Pulumi.yaml gives no value for it.",
        ),
    ],
)
def test_a_project_that_cannot_be_read_is_refused(
    tmp_path: Path, project: str | None, said: str
) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("")
    if project is not None:
        (tmp_path / "Pulumi.yaml").write_text(project)
    with pytest.raises(UserError, match=re.escape(said)):
        read_stack("dev", tmp_path)


BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
MERGES = "".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}\n" for i in range(1, 10))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("\t", "cannot be read: while scanning for the next token found character '\\t'"),
        ("config:\n  a: 1\n  a: 2\n", "cannot be read: the key 'a' comes twice"),
        ("config: {b: {010: 1, 8: 2}}", "cannot be read: the key '8' comes twice"),
        ("config: {a: {1e6: 2}}", "cannot be read: put the key 1e6 in quotes"),
        ("config:\n  {[1]: 2}\n", "cannot be read: a key must be a text"),
        *(
            (f"config: {{a: {tag} 5}}", f"cannot be read: leave out {tag} at line 1, column 13:")
            for tag in ("!!int", "!!float", "!!timestamp", "!own", "!!python/name:os.system")
        ),
        *(
            (f"config: {{a: [{word}]}}", f"cannot be read: put {word[:40]} in quotes")
            for word in (
                *("-.INF", "+.inf", ".NaN", "1e400", "9" * 5000, str(2**63), str(-(2**63) - 1)),
                *("0xffffffffffffffff", "9.3e18", "01777777777777777777777", "2024-1-2"),
                *("2024-01-02T10:11:12Z", "2024-01-02 10:11:12", "2024-1-2t1:1:1.5+02:00"),
            )
        ),
        ("a: 1\n---\nconfig: {a: 2}", "expected a single document in the stream"),
        ("config: {a: {<<: {b: 1}, <<: {c: 1}}}", "cannot be read: the key '<<' comes twice"),
        ("config: {a: {<<: 5}}", "cannot be read: only mappings can be merged"),
        ("a: &a [*a]\nconfig: {a: *a}\n", "is nested too deeply, or contains itself."),
        (
            f"a0: &a0 [1, 2]\n{BOMB}config: {{a: *a9}}\n",
            "cannot be read: it contains itself, or",
        ),
        (f"m0: &m0 {{b: 1}}\n{MERGES}config: {{a: *m9}}\n", "cannot be read: it contains"),
        ("config: {a: " + "x" * 1_000_000 + "}", "is larger than 1,000,000 bytes."),
        ("config: " + "[" * 1000, "is nested too deeply, or contains itself."),
        ("config: {a: " + "{a: " * 1000 + "}" * 1001, "is nested too deeply, or contains itself."),
        ("- config\n", "is not a mapping."),
        ("config: 5\n", "Pulumi.dev.yaml: `config` is not a mapping of settings."),
        ("config: {fixture-api:a:b: c}", "the key 'fixture-api:a:b' is not of the form"),
        ("config: {a: 1, fixture-api:a: 2}", "'fixture-api:a' comes twice, once in another form."),
        (b"config: {a: caf\xe9}", "cannot be read: 'utf-8' codec can't decode byte"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_file_that_is_not_a_config_is_refused_in_one_line(
    refusal: Callable[..., str], content: str | bytes, said: str
) -> None:
    found = refusal(content)
    assert found.startswith("Pulumi.dev.yaml")
    assert said in found
