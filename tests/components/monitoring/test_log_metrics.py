"""The metric filters find in the access log what they count."""

import json
import re
from typing import Any

import pytest

from tests.stacks import PROJECT, deploy
from tests.stacks.resources import LOG_GROUP, STAGE, inputs, only


def filters() -> dict[str, dict[str, Any]]:
    return inputs(deploy("dev"), "cloudwatch/logMetricFilter:LogMetricFilter")


def line(response_type: str) -> dict[str, str]:
    """Return a line of the access log, where - stands for what a request does not have."""
    values = {"error.responseType": response_type, "identity.apiKeyId": "abc123"}
    template = only(deploy("dev"), STAGE).inputs["accessLogSettings"]["format"]
    rendered = re.sub(r"\$context\.([A-Za-z.]+)", lambda name: values.get(name[1], "-"), template)
    fields: dict[str, str] = json.loads(rendered)
    return fields


def matches(pattern: str, fields: dict[str, str]) -> bool:
    """Return whether CloudWatch counts a line, for patterns that compare a field with a text.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
    """
    parts = re.fullmatch(r'\{ \$\.([A-Za-z]+) = "([A-Z_]+)" \}', pattern)
    assert parts, f"a pattern of another form: {pattern}"
    return fields.get(parts[1]) == parts[2]


@pytest.mark.parametrize(
    ("response_type", "counted"),
    [
        ("THROTTLED", ["ThrottledRequests", "ThrottledRequestsByKey"]),
        ("QUOTA_EXCEEDED", ["QuotaExceededRequests", "QuotaExceededRequestsByKey"]),
        ("INVALID_API_KEY", ["InvalidApiKeyRequests"]),
        ("WAF_FILTERED", ["WafFilteredRequests"]),
        ("MISSING_AUTHENTICATION_TOKEN", []),
        ("INTEGRATION_FAILURE", []),
        ("-", []),
    ],
)
def test_each_kind_of_refusal_is_counted_once(response_type: str, counted: list[str]) -> None:
    fields = line(response_type)
    found = [f for f in filters().values() if matches(f["pattern"], fields)]
    assert sorted(f["metricTransformation"]["name"] for f in found) == counted


def test_filters_count_each_line_as_one_in_total_or_by_key() -> None:
    assert line("THROTTLED")["apiKeyId"] == "abc123"
    for name, made in filters().items():
        assert made["logGroupName"] == only(deploy(), LOG_GROUP, "access-logs").outputs["name"]
        assert made["metricTransformation"] == {
            "namespace": f"{PROJECT}/dev",
            "name": made["metricTransformation"]["name"],
            "value": "1",
            "unit": "Count",
            # CloudWatch takes no default value together with dimensions.
            **(
                {"dimensions": {"ApiKeyId": "$.apiKeyId"}}
                if name.endswith("by-key")
                else {"defaultValue": "0"}
            ),
        }
