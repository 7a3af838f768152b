"""`python -m tools.policy.check`, and what the rules tell those who break them."""

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from settings.schema import Config
from policy import check
from tools.policy.check import recorded, violations_in
from policy.rules import RULES
from policy.rules.model import Rule

ROOT = Path(__file__).parents[2]
CONFIG: dict[str, Any] = Config(stageName="dev").model_dump(by_alias=True)


@pytest.mark.parametrize("stack", ["dev", "prod"])
@pytest.mark.parametrize("preview", [False, True], ids=["known", "preview"])
def test_the_stacks_break_no_rule(stack: str, preview: bool) -> None:
    assert list(violations_in(recorded(stack, preview=preview))) == []


def test_rules_have_names_and_references_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.why
        assert rule.reference.startswith("https://docs.aws.amazon.com/")


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_fix_names_places_and_settings_that_exist(rule: Rule) -> None:
    files = re.findall(r"(?:components|policy)/[\w/]+\.py", rule.fix)
    settings = re.findall(rf"\b(?:{'|'.join(CONFIG)})(?:\.(?!py)(?:<plan>|\w+))+", rule.fix)

    assert files or settings
    for file in files:
        assert (ROOT / file).is_file()
    for place, file in re.findall(
        r"([\w.]+)(?:\(\))? (?:of|in) ((?:components|policy)/[\w/]+\.py)", rule.fix
    ):
        if place[0].isupper() or "_" in place:
            assert set(place.split(".")) <= names_in(ROOT / file), f"no {place} in {file}"
    for setting in settings:
        value: Any = CONFIG
        for step in setting.split("."):
            value = value["basic" if step == "<plan>" else step]


def names_in(file: Path) -> set[str]:
    """All names that a module defines."""
    tree = ast.walk(ast.parse(file.read_text()))
    return {
        name
        for node in tree
        for name in (getattr(node, "name", None), getattr(node, "id", None))
        if name
    }


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stacks' config, which the check reads."""
    for file in ROOT.glob("Pulumi*.yaml"):
        shutil.copy(file, tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    content = file.read_text()
    assert old in content
    file.write_text(content.replace(old, new, 1))


def test_a_web_acl_turned_off_is_advised_against_in_dev_and_refused_in_prod(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for stack in ("dev", "prod"):
        edit(config / f"Pulumi.{stack}.yaml", "waf:\n    enabled: true", "waf:\n    enabled: false")

    assert check.main([]) == 1
    told = capsys.readouterr().out
    assert "ADVISORY web-acl-turned-off, stack dev" in told
    assert "MANDATORY stage-has-web-acl, stack prod" in told
    assert told.endswith("rules on dev, prod: 1 mandatory, 1 advisory violations.\n")


def test_an_advice_alone_does_not_fail_the_check(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(config / "Pulumi.dev.yaml", "reservedConcurrency: 25", "reservedConcurrency: none")

    assert check.main(["--stack", "dev"]) == 0
    assert "ADVISORY function-reservation-turned-off, stack dev" in capsys.readouterr().out


def test_an_unknown_stack_is_one_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["--stack", "test"]) == 2
    assert capsys.readouterr().err.startswith("error: There is no Pulumi.test.yaml; ")


def test_a_broken_config_is_one_error(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edit(config / "Pulumi.dev.yaml", "rateLimit: 5\n", "rateLimit: 500\n")

    assert check.main([]) == 2
    assert capsys.readouterr().err.startswith("error: 1 problem in the config of stack dev")
