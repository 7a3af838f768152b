"""The resources that the program registered, as plain values that can be kept in a file."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource as the program registered it. Property names are camelCase, as in state."""

    type: str
    """Token such as `aws:dynamodb/table:Table`."""
    name: str
    """Logical name."""
    urn: str
    id: str
    parent: str
    """URN of its parent; empty for the stack itself."""
    inputs: Properties
    outputs: Properties
    """The inputs and what AWS adds to them; only the inputs in a preview."""
    custom: bool
    """False for components."""
    protect: bool
    retain_on_delete: bool
    depends_on: tuple[str, ...]
    provider: str


@dataclass(frozen=True, kw_only=True)
class Resources:
    """All resources of a stack, and its outputs."""

    items: tuple[Resource, ...]
    exports: Properties
    """Stack outputs by name; None where unknown."""

    def of_type(self, token: str) -> list[Resource]:
        """All resources of a type such as `aws:dynamodb/table:Table`."""
        return [resource for resource in self.items if resource.type == token]

    def where(self, token: str, **inputs: object) -> Iterator[Resource]:
        """The resources of a type whose inputs have these values."""
        for resource in self.of_type(token):
            if all(resource.inputs.get(name) == value for name, value in inputs.items()):
                yield resource

    def save(self, path: Path) -> None:
        """Keep them in a file, which is there whole or not at all."""
        partial = path.with_suffix(".new")
        partial.write_text(json.dumps(asdict(self), indent=1), "utf-8")
        partial.chmod(0o600)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Resources":
        """Read what `save` wrote."""
        kept = json.loads(path.read_text("utf-8"))
        items = tuple(
            Resource(**{**item, "depends_on": tuple(item["depends_on"])}) for item in kept["items"]
        )
        return cls(items=items, exports=kept["exports"])
