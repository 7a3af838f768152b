"""What the documents say is true of the project, and what they link to exists."""

import ast
import json
import re
from pathlib import Path

import pytest

from routes import READS
from settings import Settings, load_stack
from throttling import choices

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), ROOT / "tools/bench/README.md"]
README = DOCUMENTS[0].read_text("utf-8")
CI = (ROOT / "docs/ci.md").read_text("utf-8")
WORKFLOWS = "".join(path.read_text("utf-8") for path in (ROOT / ".github").rglob("*.yml"))


def anchors(document: Path) -> set[str]:
    """Return the headings of a document as links name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(document: Path) -> None:
    for link in re.findall(r"\]\((?!http)([^)]+)\)", document.read_text("utf-8")):
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_json_in_the_text_is_json(document: Path) -> None:
    for block in re.findall(r"```json\n(.*?)```", document.read_text("utf-8"), re.DOTALL):
        json.loads(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_make_targets_and_commands_that_are_named_exist(document: Path) -> None:
    text = document.read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    door = (ROOT / "tools/__main__.py").read_text("utf-8")

    assert set(re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE)) <= targets
    for command in re.findall(r"(?:python -m tools|bin/tools) ([a-z]+)", text):
        assert f'"{command}": (' in door, command


def test_the_settings_that_commands_name_exist() -> None:
    known = {field.alias for field in Settings.model_fields.values()}
    for document in DOCUMENTS:
        names = set(re.findall(r"throttled-api:([A-Za-z]+)", document.read_text("utf-8")))
        assert names <= known, document


@pytest.mark.parametrize(("column", "stack"), [(0, "prod"), (1, "dev")])
def test_the_limits_table_is_that_of_the_stacks(column: int, stack: str) -> None:
    settings = load_stack(stack, root=ROOT)
    waf, stage, function = settings.waf, settings.throttle, settings.function
    cap = settings.table.max_write_request_units
    values = {
        "each address": f"{waf.rate_limit:,} per {waf.window_seconds} s",
        "stage, all": f"{stage.rate_limit:,.10g}/s, {stage.burst_limit:,}",
        "function: executions": str(function.reserved_concurrency),
        "function: time": f"{function.timeout_seconds} s",
        "table: writes": "none" if cap is None else str(cap),
    }
    for name, plan in settings.usage_plans.items():
        quota = f"{plan.quota.limit:,} a {plan.quota.period.value.lower()}"
        values[f"plan {name}, each client: quota"] = quota
        rate = f"{plan.rate_limit:.10g}/s, {plan.burst_limit:,}"
        values[f"plan {name}, each client: rate"] = rate
    wrong = [
        f"{value} in the row `{limit}`"
        for limit, value in values.items()
        for line in README.splitlines()
        if line.startswith(f"| {limit}") and line.split("|")[3 + column].strip() != value
    ]
    assert not wrong, f"README.md, stack {stack}: write {', '.join(wrong)}"


def test_the_variables_and_secrets_of_the_workflows_are_in_the_table() -> None:
    used = set(re.findall(r"\b(vars|secrets)\.([A-Z_]+)", WORKFLOWS))
    table = re.findall(r"^\| `([A-Z_]+)` \| (variable|secret) \|", CI, re.MULTILINE)

    assert {("vars" if kind == "variable" else "secrets", name) for name, kind in table} == used


def test_every_layer_of_the_threat_model_names_tests_that_exist() -> None:
    text = (ROOT / "docs/threat-model.md").read_text("utf-8")
    sections = re.findall(r"^## ([^\n]*)\n\n- \*\*Stops?\*\*(.*?)(?=^## )", text, re.M | re.S)
    assert len(sections) >= 15
    for title, section in sections:
        assert re.search(r"- \*\*Do(es)? not stop\*\*", section), title
        named = re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", section)
        assert named, title
        for name, link in named:
            tree = ast.parse((ROOT / "docs" / link).read_text("utf-8"))
            assert name in {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}, name


def test_no_document_says_that_records_are_never_read_where_a_route_reads_them() -> None:
    if READS:
        for file, words in (
            ("README.md", ("write-only", "this table, PutItem")),
            ("docs/threat-model.md", ("writes and never reads",)),
        ):
            text = " ".join((ROOT / file).read_text("utf-8").split())
            wrong = [one for one in words if one in text]
            assert not wrong, f"{file}: a route reads the table, so reword {wrong}"


def test_what_only_an_account_can_tell_names_choices_and_files_that_exist() -> None:
    text = (ROOT / "docs/verify-on-aws.md").read_text("utf-8")
    named = re.findall(r"`(?:choices\.)?([A-Z]+_[A-Z_]+)`", text.replace("INTEGRATION_FAILURE", ""))
    assert {*named} - {"DEFAULT_4XX", "FORWARDED_IP"} <= vars(choices).keys()
    open_on_aws = {name for name in vars(choices) if re.fullmatch(r"[A-Z_]+", name)}
    limits_of_the_model = {"WAF_LAG_SECONDS", "MAX_ADDRESSES"}
    tolerances = {name for name in open_on_aws if "TOLERANCE" in name}
    assert open_on_aws - tolerances - limits_of_the_model <= {*named}
    names = {path.name for folder in ("components", "tools") for path in (ROOT / folder).rglob("*")}
    assert {*re.findall(r"`(\w+\.py)`", text)} <= names
