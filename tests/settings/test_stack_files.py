"""The stacks' files: read as Pulumi's engine reads them, and what the two of the project hold."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from settings.schema import Settings, parse_settings
from settings.files import (
    StackFileError,
    project_name,
    read_stack,
    secret_keys,
    stack_names,
)

ROOT = Path(__file__).parents[2]

Project = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project with the stacks dev and prod, of which dev has the given file."""

    def project(dev: str) -> Path:
        (tmp_path / "Pulumi.yaml").write_text("name: throttled-api\nruntime: python\n")
        (tmp_path / "Pulumi.prod.yaml").write_text("config: {}\n")
        (tmp_path / "Pulumi.dev.yaml").write_text(dev)
        return tmp_path

    return project


def refusal(root: Path, stack: str = "dev") -> str:
    with pytest.raises(StackFileError) as refused:
        read_stack(root, stack)
    return str(refused.value)


# As the engine reads them


def test_mappings_and_lists_are_handed_over_as_json_and_all_else_as_text(
    project: Project,
) -> None:
    root = project(
        """
        config:
          aws:region: eu-central-1
          throttled-api:stageName: 2024
          throttled-api:manageApiGatewayLogging: true
          throttled-api:rate: 0.5
          throttled-api:nothing:
          throttled-api:throttle: {rateLimit: 0.5, burstLimit: 20, on: [1, "2", no, null, True]}
          throttled-api:list: [a, {b: c}]
        """
    )
    handed = read_stack(root, "dev")
    throttle = {"rateLimit": 0.5, "burstLimit": 20, "on": [1, "2", "no", None, True]}
    assert json.loads(handed.pop("throttled-api:throttle")) == throttle
    assert json.loads(handed.pop("throttled-api:list")) == ["a", {"b": "c"}]
    assert handed == {
        "aws:region": "eu-central-1",
        "throttled-api:stageName": "2024",
        "throttled-api:manageApiGatewayLogging": "true",
        "throttled-api:rate": "0.5",
        "throttled-api:nothing": "",
    }


@pytest.mark.parametrize("word", ["no", "No", "off", "yes", "on", "y", "n", "tRue"])
def test_words_that_only_old_yaml_takes_for_booleans_are_words(project: Project, word: str) -> None:
    handed = read_stack(project(f"config: {{a: {word}, b: [{word}], c: {{{word}: 1}}}}"), "dev")
    assert handed == {
        "throttled-api:a": word,
        "throttled-api:b": json.dumps([word]),
        "throttled-api:c": json.dumps({word: 1}),
    }


@pytest.mark.parametrize("word", ["true", "True", "TRUE"])
def test_booleans_are_booleans(project: Project, word: str) -> None:
    assert read_stack(project(f"config: {{a: [{word}]}}"), "dev") == {"throttled-api:a": "[true]"}


def test_a_key_is_text_whatever_it_looks_like(project: Project) -> None:
    handed = read_stack(project("config: {a: {1: x, 2024-01-01: y, true: z, 0x10: w}}"), "dev")
    assert json.loads(handed["throttled-api:a"]) == {
        **{"1": "x", "2024-01-01": "y", "true": "z", "0x10": "w"}
    }


def test_anchors_and_merges_work_and_may_be_overridden(project: Project) -> None:
    handed = read_stack(project("config: {a: &a {b: 1, c: 2}, d: {<<: *a, c: 3}}"), "dev")
    assert json.loads(handed["throttled-api:d"]) == {"b": 1, "c": 3}


def test_the_projects_namespace_may_be_left_out(project: Project) -> None:
    root = project("config: {stageName: v2, waf: {secure: abc}}")
    assert read_stack(root, "dev")["throttled-api:stageName"] == "v2"
    assert secret_keys(root, "dev") == ["throttled-api:waf"]


def test_secrets_are_found_however_deep(project: Project) -> None:
    root = project(
        """
        config:
          throttled-api:plain: {secured: x}
          throttled-api:whole: {secure: AAAB}
          throttled-api:nested: {a: [1, {b: {secure: AAAB}}]}
          throttled-api:named: {secure: a, other: b}
          aws:token: {secure: AAAB}
        """
    )
    assert secret_keys(root, "dev") == [
        "throttled-api:whole",
        "throttled-api:nested",
        "aws:token",
    ]


@pytest.mark.parametrize("content", ["", "config:\n", "encryptionsalt: v1:x\n"])
def test_a_file_without_config_is_an_empty_config(project: Project, content: str) -> None:
    root = project(content)
    assert read_stack(root, "dev") == {}
    assert secret_keys(root, "dev") == []


# What is said when they cannot be read


def test_a_missing_stack_lists_those_that_are_there(project: Project) -> None:
    assert refusal(project(""), "staging") == (
        "There is no Pulumi.staging.yaml; stacks with a config here: dev, prod."
    )


def test_a_folder_without_stacks_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "There is no Pulumi.dev.yaml; stacks with a config here: none."


def test_a_folder_without_a_project_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StackFileError) as refused:
        project_name(tmp_path)
    assert str(refused.value) == "There is no Pulumi.yaml; run this in the project's folder."


def test_a_project_without_a_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.yaml").write_text("runtime: python\n")
    with pytest.raises(StackFileError) as refused:
        project_name(tmp_path)
    assert str(refused.value) == f"{tmp_path / 'Pulumi.yaml'} has no `name`."


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (
            "config:\n  a: 1\n  a: 2\n",
            "Pulumi.dev.yaml is not valid YAML: the key 'a' comes twice in "
            '"<unicode string>", line 3, column 3: a: 2 ^.',
        ),
        (
            "config:\n  b: {a: 1, 'a': 2}\n",
            "Pulumi.dev.yaml is not valid YAML: the key 'a' comes twice in "
            "\"<unicode string>\", line 2, column 13: b: {a: 1, 'a': 2} ^.",
        ),
        (
            "config:\n  b: [1, 2\n",
            "Pulumi.dev.yaml is not valid YAML: while parsing a flow sequence in "
            "\"<unicode string>\", line 2, column 6: b: [1, 2 ^ expected ',' or ']', but got "
            "'<stream end>' in \"<unicode string>\", line 3, column 1: ^.",
        ),
        (
            "config:\n  {[1]: 2}\n",
            "Pulumi.dev.yaml is not valid YAML: while constructing a mapping in "
            '"<unicode string>", line 2, column 3: {[1]: 2} ^ found unhashable key in '
            '"<unicode string>", line 2, column 4: {[1]: 2} ^.',
        ),
        ("- config\n", "Pulumi.dev.yaml is not a mapping."),
        ("config: 5\n", "Pulumi.dev.yaml: `config` is not a mapping of settings."),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(project: Project, content: str, line: str) -> None:
    assert refusal(project(content)) == line


def test_a_file_that_is_no_text_is_told_in_one_line(project: Project) -> None:
    root = project("")
    (root / "Pulumi.dev.yaml").write_bytes(b"config: \xff")
    said = refusal(root)
    assert said.startswith("Pulumi.dev.yaml cannot be read: ")
    assert "\n" not in said


# The project's own


def settings_of(stack: str) -> Settings:
    return parse_settings(
        read_stack(ROOT, stack),
        project=project_name(ROOT),
        stack=stack,
        secret_keys=secret_keys(ROOT, stack),
    )


def config_of(stack: str) -> dict[str, Any]:
    """A stack's config, with what is JSON in it decoded."""

    def decoded(value: str) -> object:
        return json.loads(value) if value[:1] in "[{" else value

    return {key: decoded(value) for key, value in read_stack(ROOT, stack).items()}


def keys(config: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in config.items():
        yield above + key
        if isinstance(value, dict):
            yield from keys(value, f"{above}{key}.")


def test_the_project_has_a_dev_and_a_prod_stack() -> None:
    assert project_name(ROOT) == "throttled-api"
    assert stack_names(ROOT) == ["dev", "prod"]


def test_both_stacks_have_the_same_keys() -> None:
    assert sorted(keys(config_of("dev"))) == sorted(keys(config_of("prod")))


def test_both_stacks_spell_every_setting_out() -> None:
    defaults = parse_settings({}, project="throttled-api", stack="prod")
    document = defaults.model_dump(
        by_alias=True, mode="json", exclude={"project", "stack", "region", "profile"}
    )
    optional = {"throttle.methods", "usagePlans.basic.keys", "usagePlans.premium.keys"}
    settable = set(keys(document)) - optional
    assert {key.removeprefix("throttled-api:") for key in keys(config_of("prod"))} == {
        *settable,
        "aws:region",
    }


def test_prod_has_the_documented_numbers() -> None:
    assert config_of("prod") == {
        "aws:region": "eu-central-1",
        "throttled-api:stageName": "prod",
        "throttled-api:throttle": {"rateLimit": 1000, "burstLimit": 2000},
        "throttled-api:usagePlans": {
            "basic": {
                "rateLimit": 100,
                "burstLimit": 200,
                "quota": {"limit": 10_000, "period": "DAY"},
                "clients": ["default"],
            },
            "premium": {
                "rateLimit": 500,
                "burstLimit": 1000,
                "quota": {"limit": 100_000, "period": "DAY"},
                "clients": ["default"],
            },
        },
        "throttled-api:waf": {
            "enabled": True,
            "rateLimit": 2000,
            "windowSeconds": 300,
            "aggregateBy": "IP",
            "managedRuleGroups": [],
            "logging": True,
        },
        "throttled-api:function": {
            "memoryMb": 1024,
            "timeoutSeconds": 10,
            "reservedConcurrency": 100,
            "expectedDurationMs": 100,
            "architecture": "arm64",
            "runtime": "python3.13",
            "snapStart": False,
        },
        "throttled-api:table": {
            "maxWriteRequestUnits": "none",
            "pointInTimeRecovery": True,
            "deletionProtection": True,
        },
        "throttled-api:network": {
            "cidr": "10.1.0.0/16",
            "availabilityZones": 2,
            "flowLogs": True,
        },
        "throttled-api:monitoring": {
            "alarmEmails": [],
            "logRetentionDays": 365,
            "thresholds": {
                "throttledRequests": 100,
                "quotaExceededRequests": 100,
                "wafBlockedRequests": 100,
                "serverErrors": 5,
                "latencyP99Ms": 3000,
                "functionThrottles": 10,
                "functionErrors": 0,
                "functionDurationPercent": 80,
                "functionConcurrencyPercent": 80,
                "tableThrottles": 0,
            },
            "dashboard": True,
        },
        "throttled-api:manageApiGatewayLogging": "true",
    }


def test_prod_is_the_defaults_written_out() -> None:
    defaults = parse_settings({"aws:region": "eu-central-1"}, project="throttled-api", stack="prod")
    assert settings_of("prod") == defaults


def test_dev_is_smaller_than_prod_and_shows_every_feature() -> None:
    dev, prod = settings_of("dev"), settings_of("prod")
    assert dev.throttle.rate_limit < prod.throttle.rate_limit
    assert dev.usage_plans.keys() == prod.usage_plans.keys()
    for name, plan in dev.usage_plans.items():
        assert plan.rate_limit < prod.usage_plans[name].rate_limit
    assert dev.function.memory_mb < prod.function.memory_mb
    assert (dev.function.reserved_concurrency or 0) < (prod.function.reserved_concurrency or 0)
    assert dev.monitoring.log_retention_days < prod.monitoring.log_retention_days
    features = [
        dev.waf.enabled,
        dev.waf.logging,
        dev.network.flow_logs,
        dev.table.point_in_time_recovery,
        dev.table.max_write_request_units,
        dev.function.reserved_concurrency,
        dev.monitoring.dashboard,
        dev.manage_api_gateway_logging,
    ]
    assert all(features), "what dev does not have is tried in prod first"
    assert not dev.table.deletion_protection, "a stack to try things in has to go away again"


def test_the_limits_of_dev_agree_with_each_other() -> None:
    assert settings_of("dev").warnings() == []


def test_no_stack_holds_a_secret() -> None:
    assert [secret_keys(ROOT, stack) for stack in stack_names(ROOT)] == [[], []]
