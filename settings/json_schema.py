"""The JSON Schema of the settings: the description that errors, editors and docs read."""

from functools import cache
from typing import Any

from pydantic import BaseModel

from settings.paths import Path

Node = dict[str, Any]
"""The JSON Schema of one value."""


@cache
def json_schema(model: type[BaseModel]) -> Node:
    """Return the JSON Schema of a model in one piece: without references and titles."""
    whole = model.model_json_schema()

    def inlined(node: Any) -> Any:  # noqa: ANN401  JSON
        if isinstance(node, list):
            return [inlined(item) for item in node]
        if not isinstance(node, dict):
            return node
        match node:
            case {"anyOf": [form, {"type": "null"}], **others} if form.get("type") != "integer":
                node = form | others  # only for a number is null a value, which means no limit
        if "$ref" in node:
            node = whole["$defs"][node["$ref"].rpartition("/")[2]] | node
        if "patternProperties" in node:
            [(pattern, values)] = node["patternProperties"].items()
            names = node.get("propertyNames", {}) | {"pattern": pattern}
            node = node | {"propertyNames": names, "additionalProperties": values}
        return {
            key: inlined(value)
            for key, value in node.items()
            if key not in ("$defs", "$ref", "patternProperties")
            and (key != "title" or not isinstance(value, str))
        }

    schema: Node = inlined(whole)
    return schema


def section(node: Node) -> Node:
    """Return the alternative of a node that is a mapping, or an empty node."""
    return next((one for one in node.get("anyOf", [node]) if one.get("type") == "object"), {})


def at(node: Node, path: Path) -> Node:
    """Return the node of the value at `path` below a node; empty when there is no such setting."""
    for step in path:
        inner = section(node)
        known = inner.get("properties", {}).get(step) or inner.get("additionalProperties")
        node = (node.get("items") if isinstance(step, int) else known) or {}
    return node


def allowed(node: Node) -> str:
    """Return in words what a value may be."""
    match node:
        case {"anyOf": forms}:
            return ", or ".join(map(allowed, forms))
        case {"patternErrorMessage": words}:
            return str(words)
        case {"enum": choices}:
            return "one of " + ", ".join(map(str, choices))
        case {"const": choice}:
            return f"only {choice}"
        case {"type": "integer" | "number" as kind, "minimum": low, "maximum": high}:
            whole = "whole " if kind == "integer" else ""
            return f"a {whole}number from {low:,.10g} to {high:,.10g}"
        case {"properties": settings}:
            return "a mapping of " + ", ".join(settings)
        case {"type": "array", "items": item}:
            return f"a list{' of at least one item' * ('minItems' in node)}, each {allowed(item)}"
        case {"type": "object"}:
            names = (
                f", by name: {allowed(node['propertyNames'])}" if "propertyNames" in node else ""
            )
            return f"a mapping{' of at least one item' * ('minProperties' in node)}{names}"
    others = {"boolean": "true or false", "null": "none"}
    return others.get(str(node.get("type")), "text")
