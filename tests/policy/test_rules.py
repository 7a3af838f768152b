"""What holds of every rule: its advice is true, its name is documented, the stacks keep it."""

import re
from pathlib import Path
from typing import Any

import pytest

from policy.rules import RULES
from policy.rules.model import Rule
from tests.stacks import STACKS, config, settings
from tools.policy.command import violations_of

ROOT = Path(__file__).parents[2]
SETTINGS: dict[str, Any] = settings("prod").model_dump(by_alias=True)


@pytest.mark.parametrize("stack", STACKS)
def test_the_stacks_break_no_rule(stack: str) -> None:
    assert violations_of(config(stack)) == []


def test_rules_have_names_and_references_of_their_own() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    for rule in RULES:
        assert rule.why
        assert rule.reference.startswith("https://docs.aws.amazon.com/")


@pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])
def test_a_fix_names_files_arguments_and_settings_that_exist(rule: Rule) -> None:
    files = re.findall(r"(?:components|policy)/[\w/]+\.py|routes\.py", rule.fix)
    keys = re.findall(rf"(?<![/\w.])(?:{'|'.join(SETTINGS)})\b(?:\.(?:<plan>|\w+))*", rule.fix)
    text = "".join((ROOT / file).read_text("utf-8") for file in files)

    assert files or keys
    for argument in re.findall(r"\b[a-z]+_[a-z_]+\b(?!/|\.py)", rule.fix):
        assert argument in text
    for key in keys:
        value: Any = SETTINGS
        for step in key.split("."):
            value = value["basic" if step == "<plan>" else step]


def test_the_table_in_the_documents_has_all_rules_in_their_order() -> None:
    document = (ROOT / "docs" / "ci.md").read_text("utf-8")
    table = re.findall(r"^\| `([a-z-]+)`( \(advisory\))? \|", document, re.MULTILINE)

    levels = [(rule.name, " (advisory)" if rule.level == "advisory" else "") for rule in RULES]
    assert table == levels
