"""What docs/threat-model.md says can be looked up."""

import ast
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
DOCUMENT = (DOCS / "threat-model.md").read_text()
ROWS = [line.split(" | ") for line in DOCUMENT.splitlines() if line.startswith("| ")][1:]
TESTS = sorted(set(re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", DOCUMENT)))


def anchors(document: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_each_layer_says_what_it_stops_and_what_not_and_names_a_test() -> None:
    assert ROWS
    for row in ROWS:
        layer, stops, does_not_stop, shown_by = row
        assert stops, layer
        assert does_not_stop, layer
        assert "[`test_" in shown_by, layer


@pytest.mark.parametrize(("name", "link"), TESTS, ids=[name for name, _ in TESTS])
def test_the_tests_that_are_named_exist(name: str, link: str) -> None:
    tree = ast.parse((DOCS / link).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", DOCUMENT))))
def test_links_lead_somewhere(link: str) -> None:
    file, _, anchor = link.partition("#")
    assert (DOCS / file).is_file()
    assert not anchor or anchor in anchors(DOCS / file)


def test_it_is_one_page() -> None:
    assert len(DOCUMENT.splitlines()) <= 90
