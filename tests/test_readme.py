"""The README agrees with the project: its limits, settings, commands and links."""

import re
from pathlib import Path

import pytest

from settings import Settings, load_stack

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def row(limit: str) -> tuple[str, str]:
    """Return the cells for prod and dev of the row that begins with `limit`."""
    (line,) = [line for line in README.splitlines() if line.startswith(f"| {limit}")]
    _, _, _, prod, dev, _ = (cell.strip() for cell in line.split("|"))
    return prod, dev


def test_the_limits_table_is_that_of_the_stacks() -> None:
    for index, stack in enumerate(("prod", "dev")):
        settings = load_stack(stack, root=ROOT)
        waf, stage, function = settings.waf, settings.throttle, settings.function
        assert row("each address")[index] == f"{waf.rate_limit:,} per {waf.window_seconds} s"
        for name, plan in settings.usage_plans.items():
            quota = f"{plan.quota.limit:,} a {plan.quota.period.value.lower()}"
            assert row(f"plan {name}, each client: quota")[index] == quota
            rate = f"{plan.rate_limit:g}/s, {plan.burst_limit:,}"
            assert row(f"plan {name}, each client: rate")[index] == rate
        assert row("stage, all")[index] == f"{stage.rate_limit:,g}/s, {stage.burst_limit:,}"
        assert row("function: executions")[index] == str(function.reserved_concurrency)
        assert row("function: time")[index] == f"{function.timeout_seconds} s"
        cap = settings.table.max_write_request_units
        assert row("table: writes")[index] == ("none" if cap is None else str(cap))


def test_all_plans_are_in_the_limits_table() -> None:
    plans = {plan for stack in ("prod", "dev") for plan in load_stack(stack, root=ROOT).usage_plans}

    assert set(re.findall(r"^\| plan (\w+)", README, re.MULTILINE)) == plans


def test_the_settings_that_commands_name_exist() -> None:
    names = set(re.findall(rf"{load_stack('prod', root=ROOT).project}:([A-Za-z]+)", README))
    known = {field.alias for field in Settings.model_fields.values()}

    assert names
    assert names <= known


def test_the_make_targets_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"`make ([a-z]+)", README)) | {"up", "test"} <= targets


@pytest.mark.parametrize("link", sorted(set(re.findall(r"\]\((?!http)([^)#]+)\)", README))))
def test_links_lead_somewhere(link: str) -> None:
    assert (ROOT / link).exists()
