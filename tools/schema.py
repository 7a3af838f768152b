"""`python -m tools schema`: the settings for editors (JSON Schema) and for readers (a table)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from settings import project_root
from settings.errors import written
from settings.json_schema import Node, allowed, json_schema, section
from settings.schema import Config, Provider
from settings.values import DECIMAL, DIGITS

SCHEMA: Final = Path("docs/settings.schema.json")
TABLE: Final = Path("docs/settings.md")

_TEXT_FORMS: Final = {"integer": DIGITS, "number": DECIMAL, "boolean": "true|false"}
_INTRODUCTION: Final = """\
# Settings

The settings of a stack, in its file `Pulumi.STACK.yaml` under the name of the project:
`PROJECT:waf`. `pulumi config set --path waf.rateLimit 3000 --stack dev` changes one. `<name>`
stands for a name, and `[]` for each item of a list. `python -m tools schema` writes this page, and
[settings.schema.json](settings.schema.json) for editors.

| setting | what it is | allowed | default |
|---|---|---|---|
"""


@click.command(epilog="Example: python -m tools schema")
def schema() -> None:
    """Write docs/settings.schema.json and docs/settings.md from the settings' models."""
    root = project_root()
    (root / SCHEMA).parent.mkdir(exist_ok=True)
    (root / SCHEMA).write_text(stack_file_schema())
    (root / TABLE).write_text(settings_table())
    click.echo(f"Wrote {SCHEMA} and {TABLE}.")


def stack_file_schema() -> str:
    """Return the JSON Schema of a stack's file, for editors.

    It accepts both written forms of a value. Bounds hold for numbers that are written as numbers.
    It holds for a project of any name, so that renaming the project does not change it.
    """
    settings = {
        f"^{namespace}:{name}$": _both_forms(node)
        for namespace, model in (("(?!aws:)[^:]+", Config), ("aws", Provider))
        for name, node in json_schema(model)["properties"].items()
    }
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack's file",
        "type": "object",
        "properties": {
            "config": {
                "type": ["object", "null"],
                # Pulumi's own settings. Add the namespace of another provider here.
                "patternProperties": settings | {"^(pulumi):": {}},
                "additionalProperties": False,
            }
        },
    }
    # Descriptions are docstrings, some of several lines.
    return json.dumps(document, indent=2).replace(r"\n", " ") + "\n"


def _both_forms(node: Any) -> Any:  # noqa: ANN401  JSON
    """Return a JSON Schema that accepts each value as text too."""
    if isinstance(node, list):
        return [_both_forms(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: _both_forms(value) for key, value in node.items()}
    match node:
        case {"type": "integer", "enum": numbers}:
            return node | {"type": ["integer", "string"], "enum": [*numbers, *map(str, numbers)]}
        case {"type": "integer" | "number" | "boolean" as kind}:
            return node | {"type": [kind, "string"], "pattern": f"^({_TEXT_FORMS[kind]})$"}
        case {"type": "string", "pattern": _}:
            return node | {"type": ["string", "integer", "boolean"]}
        case {"type": "null"}:
            return {"enum": [None, "none"]}
        case {"properties": _}:  # each setting has its own default
            node.pop("default", None)
    return node


def settings_table() -> str:
    """Return the page with the table of settings."""
    rows = [
        row
        for namespace, model in (("", Config), ("aws:", Provider))
        for name, node in json_schema(model)["properties"].items()
        for row in _rows(namespace + name, node)
    ]
    return _INTRODUCTION + "".join(rows)


def _rows(name: str, node: Node, *, required: bool = False) -> Iterator[str]:
    """Return the rows of a setting and of those below it, but for old names."""
    if "deprecated" in node:
        return
    inner = section(node)
    if "properties" not in inner and "description" in node:
        default = "required" if required else _default(node)
        what = " ".join(node["description"].split())
        yield f"| `{name}` | {what} | {allowed(node)} | {default} |\n"
    needed = inner.get("required", ())
    for step, below in inner.get("properties", {}).items():
        yield from _rows(f"{name}.{step}", below, required=step in needed)
    for step, below in ((".<name>", inner.get("additionalProperties")), ("[]", node.get("items"))):
        if below and section(below):
            yield from _rows(f"{name}{step}", section(below))


def _default(node: Node) -> str:
    default = node.get("default", "")
    text = json.dumps(default) if isinstance(default, dict | list) else written(default)
    return f"`{text}`" if text else ""
