"""The settings for editors and readers: generated, current, and in agreement with the model."""

import json
import re
import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from settings import SettingsError, parse_settings
from settings.json_schema import json_schema
from settings.schema import Config
from tests.fuzzing import examples
from tests.settings.configs import FIXTURES, GOOD, PROJECT, Tree, stack_config, text
from tests.settings.test_fixes import broken_configs
from tools.schema import SCHEMA, TABLE, schema, settings_table, stack_file_schema

ROOT = Path(__file__).parents[2]
DOCUMENT = json.loads(stack_file_schema())
VALIDATOR = jsonschema.Draft202012Validator(DOCUMENT)


def fits(tree: Tree) -> bool:
    """Return whether an editor accepts a config."""
    config = {f"{PROJECT}:{name}": value for name, value in tree.items()}
    return bool(VALIDATOR.is_valid({"config": config}))


def leaves(node: Any, path: str = "") -> list[tuple[str, dict[str, Any]]]:  # noqa: ANN401
    """Return the settings of a JSON Schema that hold no others."""
    inner: dict[str, Any] = next(
        (one for one in node.get("anyOf", [node]) if "properties" in one), {}
    )
    below = {f"{path}.{name}": child for name, child in inner.get("properties", {}).items()}
    for key in ("additionalProperties", "items"):
        below |= {f"{path}[]": node[key]} if isinstance(node.get(key), dict) else {}
    return [leaf for name, child in below.items() for leaf in leaves(child, name)] or [(path, node)]


def test_the_files_of_this_project_are_current() -> None:
    for path, current in ((SCHEMA, stack_file_schema()), (TABLE, settings_table())):
        written = (ROOT / path).read_text()
        assert written == current, f"{path} is out of date: python -m tools schema"


def test_the_command_writes_both_files_for_the_project_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(FIXTURES / "Pulumi.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(schema).exit_code == 0
    assert (tmp_path / SCHEMA).read_text() == stack_file_schema()
    assert (tmp_path / TABLE).read_text() == settings_table()


def test_the_schema_is_valid_against_the_current_draft() -> None:
    assert DOCUMENT["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(DOCUMENT)


@pytest.mark.parametrize("root", [ROOT, FIXTURES], ids=["shipped", "fixtures"])
def test_the_stack_files_name_the_schema_and_fit_it(root: Path) -> None:
    for path in root.glob("Pulumi.*.yaml"):
        VALIDATOR.validate(yaml.safe_load(path.read_text()))
        first = path.read_text().split("\n")[0]
        assert root == FIXTURES or first == f"# yaml-language-server: $schema={SCHEMA}"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("function.timeoutSeconds", 30), ("function.timeoutSeconds", "30s")),
        *(("function.timeoutSeconds", True), ("function.memory", 256), ("waf.windowSeconds", 61)),
        *(("network.cidr", "10.0.0.0/8"), ("usagePlans.a b", GOOD["usagePlans"]["basic"])),
        *(("waf.enabled", "no"), ("function.reservedConcurrency", "unlimited")),
        *(("usagePlans.basic.quota.period", "month"), ("monitoring.alarmEmails", ["ops"])),
    ],
)
def test_what_the_program_refuses_does_not_fit(key: str, value: object) -> None:
    tree = deepcopy(GOOD)
    inner = tree
    *above, last = key.split(".")
    for step in above:
        inner = inner[step]
    inner[last] = value
    assert not fits(tree)


def test_settings_of_any_project_and_of_pulumi_fit_and_unknown_ones_do_not() -> None:
    config = {"aws:region": "eu-south-1", "pulumi:tags": {"a": 1}, "any.name:stageName": "live"}
    assert VALIDATOR.is_valid({"config": config})
    assert VALIDATOR.is_valid({"config": None, "encryptionsalt": "v1:abc"})
    for key in (f"{PROJECT}:wav", "waf", "aws:region", "aws:accessKey"):
        assert not VALIDATOR.is_valid({"config": {key: "x"}})


@examples(200)
@given(tree=broken_configs(), forms=st.booleans())
def test_what_does_not_fit_the_program_refuses_too(tree: Tree, forms: bool) -> None:
    def texts(value: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(value, dict):
            return {name: texts(item) for name, item in value.items()}
        return [texts(item) for item in value] if isinstance(value, list) else text(value)

    tree = texts(tree) if forms else tree
    try:
        parse_settings(stack_config(tree))
    except SettingsError:
        return
    assert fits(tree)


UNITS = re.compile("request|second|MB|KB|WCU|percent|zone|days|numbers|writes|responses", re.I)


def test_the_table_describes_every_setting_with_its_unit() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \| (.+) \| (.*) \|$", settings_table(), re.M)
    names = [name for name, *_ in rows]
    assert len(names) == len(set(names))
    found = {re.sub(r"\.<name>", "[]", name) for name in names}
    for _, what, allowed, _ in rows:
        assert what.endswith(".")
        assert "number" not in allowed or UNITS.search(what), f"{what} has no unit"
    for path, node in leaves(json_schema(Config)):
        name = path.removeprefix(".")
        known = {name, re.sub(r"(\[\])+$", "", name)} & found
        assert known or node.get("deprecated"), name
    row = {name: values for name, *values in rows}
    assert row["function.timeoutSeconds"][1:] == ["a whole number from 1 to 29", "`10`"]
    assert row["usagePlans.<name>.rateLimit"][2] == "required"
    assert row["table.maxWriteRequestUnits"][1] == "a whole number from 1 to 1,000,000, or none"
    assert row["table.maxWriteRequestUnits"][2] == "`none`"
