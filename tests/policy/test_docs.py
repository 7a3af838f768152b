"""What docs/ci.md says is true of the project."""

import json
import re
from pathlib import Path

import pytest

from settings.files import stack_names
from policy.rules import RULES
from policy.rules.model import Level

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "ci.md").read_text()
WORKFLOWS = "".join(path.read_text() for path in (ROOT / ".github").rglob("*.yml"))


def test_all_rules_are_in_the_table_in_their_order() -> None:
    told = re.findall(r"^\| `([a-z-]+)`( \(advisory\))? \|", DOCUMENT, re.MULTILINE)

    levels = [(rule.name, " (advisory)" if rule.level is Level.ADVISORY else "") for rule in RULES]
    assert told == levels


def test_all_variables_and_secrets_that_workflows_use_are_in_the_table() -> None:
    used = set(re.findall(r"\b(vars|secrets)\.([A-Z_]+)", WORKFLOWS))
    told = re.findall(r"^\| `([A-Z_]+)` \| (variable|secret) \|", DOCUMENT, re.MULTILINE)

    assert {("vars" if kind == "variable" else "secrets", name) for name, kind in told} == used


def test_the_environments_of_all_stacks_are_named() -> None:
    for stack in stack_names(ROOT):
        assert f"`preview-{stack}`" in DOCUMENT
        assert f"`{stack}`" in DOCUMENT


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", DOCUMENT))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / "docs" / link).exists()


def test_links_within_the_page_lead_to_headings() -> None:
    headings = {
        heading.lower().replace(" ", "-")
        for heading in re.findall(r"^## (.*)$", DOCUMENT, re.MULTILINE)
    }

    assert set(re.findall(r"\]\(#([^)]+)\)", DOCUMENT)) <= headings


def test_policies_in_the_text_are_json() -> None:
    blocks = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)

    assert len(blocks) == 2
    for block in blocks:
        assert json.loads(block)["Version"] == "2012-10-17"
