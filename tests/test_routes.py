"""What follows from a route: its names, and its forms in ARNs and in the settings of a stage."""

import re

import pytest

from routes import ROUTES


@pytest.mark.parametrize(
    ("path", "label", "pattern", "stage_path", "example"),
    [
        ("/data", "data", "/data", "data/POST", "/data"),
        ("/data/{id}", "data-by-id", "/data/*", "~1data~1{id}/POST", "/data/a%2Fb"),
        ("/a_b/{id}/c", "a-b-by-id-c", "/a_b/*/c", "~1a_b~1{id}~1c/POST", "/a_b/a%2Fb/c"),
        ("/", "root", "/", "~1/POST", "/"),
    ],
)
def test_the_forms_of_a_route(
    path: str, label: str, pattern: str, stage_path: str, example: str
) -> None:
    route = ROUTES[0]._replace(verb="POST", path=path, example={"id": "a/b", "title": "x"})
    assert (route.path_label, route.path_pattern) == (label, pattern)
    assert (route.stage_path, route.example_path) == (stage_path, example)
    assert ("id" in route.example_body) == ("{id}" not in path)


def test_routes_have_names_of_their_own_that_aws_takes() -> None:
    labels = [f"{route.verb}-{route.path_label}" for route in ROUTES]
    assert len({*labels}) == len(ROUTES), "two routes would have one name: change a path"
    assert all(re.fullmatch(r"[A-Za-z0-9-]{1,80}", label) for label in labels)
