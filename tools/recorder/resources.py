"""The resources that the program registered, as plain values."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

Properties = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One registered resource. Names of properties are camelCase, as in Pulumi's state."""

    type: str
    """Token such as `aws:dynamodb/table:Table`."""
    name: str
    """Logical name."""
    urn: str
    id: str
    parent: str
    """URN of the parent; empty for the stack itself."""
    inputs: Properties
    outputs: Properties
    """The inputs and what AWS adds to them; only the inputs in a preview."""
    custom: bool
    """False for components."""
    protect: bool
    retain_on_delete: bool
    depends_on: tuple[str, ...]
    provider: str
    aliases: tuple[tuple[str, str], ...] = ()
    """Types and names that it had before."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """All resources of a stack, and its outputs."""

    items: tuple[Resource, ...]
    exports: Properties
    """Stack outputs by name; None where unknown."""

    def of_type(self, token: str, **properties: object) -> list[Resource]:
        """Return the resources of a type such as `aws:dynamodb/table:Table`.

        Args:
            token: the type.
            properties: inputs or outputs that they must have.
        """
        return [
            one
            for one in self.items
            if one.type == token and properties.items() <= (one.outputs | one.inputs).items()
        ]

    def to_json(self) -> bytes:
        """Return the resources as JSON that `from_json` reads."""
        return _JSON.dump_json(self)

    @classmethod
    def from_json(cls, text: bytes) -> "Resources":
        """Read what `to_json` wrote."""
        return _JSON.validate_json(text)


_JSON = TypeAdapter(Resources)
