"""The base class of all components."""

from typing import Any

from pulumi import ComponentResource, ResourceOptions
from pydantic.alias_generators import to_camel

from settings.schema import Settings


class Component(ComponentResource):
    """A component whose type token is `throttled-api:index:` and the name of its class."""

    def __init__(self, settings: Settings, opts: ResourceOptions) -> None:
        self.settings = settings
        self.name = settings.project
        """The names of all its resources begin with this."""
        super().__init__(f"throttled-api:index:{type(self).__name__}", self.name, None, opts)

    def child(self, **options: Any) -> ResourceOptions:  # noqa: ANN401  as ResourceOptions takes them
        """Return options for a resource whose parent is this component."""
        return ResourceOptions(parent=self, **options)

    def register(self, *attributes: str) -> None:
        """Register attributes as the component's outputs."""
        self.register_outputs({to_camel(name): getattr(self, name) for name in attributes})
