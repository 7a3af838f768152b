"""The base class of all components."""

from typing import Any

from pulumi import ComponentResource, ResourceOptions


class Component(ComponentResource):
    """A component whose type token is `throttled-api:index:` and the name of its class."""

    def __init__(self, name: str, opts: ResourceOptions | None) -> None:
        super().__init__(f"throttled-api:index:{type(self).__name__}", name, None, opts)

    def child(self, **options: Any) -> ResourceOptions:  # noqa: ANN401  as ResourceOptions takes them
        """Return options for a resource whose parent is this component."""
        return ResourceOptions(parent=self, **options)
