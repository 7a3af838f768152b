"""The routes of the API, each written once. Everything that names a route derives it from here.

This file is a part of the function's deployment package, so it imports little.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import quote

_PARAMETER: Final = re.compile(r"\{(\w+)\+?\}")


class Route(NamedTuple):
    """A verb and a path, and what happens there."""

    verb: str
    path: str
    """Parameters stand in braces: `/data/{id}`."""
    operation: str
    """The function in handler/app.py that answers."""
    summary: str
    table_actions: tuple[str, ...]
    """IAM actions on the table that the operation needs."""
    answers: Mapping[int, str]
    """What each status of the operation means. API Gateway's own answers come on top."""
    example: Mapping[str, str]
    """A value for each parameter of the path and each field of the body."""
    body: str | None = None
    """Name of the body's schema in components/edge_protection/openapi.py; None without a body."""
    returns: str = "Message"
    """Name of the schema of a 200."""
    needs_key: bool = True
    """Without a key, only the stage's limits, the method's and the web ACL's apply."""

    @property
    def method(self) -> str:
        """Verb and path, as the config, the limits and the tools write them."""
        return f"{self.verb} {self.path}"

    @property
    def parameters(self) -> list[str]:
        """Names of the parameters in the path."""
        return _PARAMETER.findall(self.path)

    @property
    def example_body(self) -> dict[str, str]:
        """The fields of the example's body."""
        return {name: v for name, v in self.example.items() if name not in self.parameters}

    @property
    def example_path(self) -> str:
        """The path with the example's values in place of its parameters."""
        return _PARAMETER.sub(lambda match: quote(self.example[match[1]], safe=""), self.path)

    @property
    def path_pattern(self) -> str:
        """The path with `*` in place of each parameter, for ARNs."""
        return _PARAMETER.sub("*", self.path)

    @property
    def path_label(self) -> str:
        """The path in letters, digits and hyphens, for names: `data-by-id`."""
        words = re.findall(r"[A-Za-z0-9]+", _PARAMETER.sub(r"by-\1", self.path))
        return "-".join(words).lower() or "root"

    @property
    def stage_path(self) -> str:
        """The route in the settings of a stage, where slashes within a path are written `~1`.

        https://github.com/hashicorp/terraform-provider-aws/issues/9738
        """
        nested = self.path.count("/") > 1 or self.path == "/"
        path = self.path.replace("/", "~1") if nested else self.path.removeprefix("/")
        return f"{path}/{self.verb}"


ROUTES: Final[tuple[Route, ...]] = (
    Route(
        verb="POST",
        path="/data",
        operation="store_record",
        summary="Store a record; the same id again overwrites it",
        table_actions=("dynamodb:PutItem",),
        answers={
            200: "Stored",
            400: "The body is not a record: which field, and why",
            413: "The body or a field is too large",
            415: "The body is not JSON",
        },
        body="Record",
        example={"id": "12", "title": "Test Movie", "year": "2023"},
    ),
)

METHODS: Final = tuple(route.method for route in ROUTES)
"""Verb and path of every route, as the config, the limits and the tools write them."""
TABLE_ACTIONS: Final = sorted({action for route in ROUTES for action in route.table_actions})
"""IAM actions on the table, of all routes together."""
READS: Final = any(re.match("dynamodb:(BatchGet|Get|Query|Scan)", one) for one in TABLE_ACTIONS)
"""Whether a route reads the table."""
