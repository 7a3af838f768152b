"""What the README promises about previews, updates and deletions, under Pulumi's real engine."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulumi
import pytest
from pulumi import automation

from tests import stacks
from tests.engine.conftest import Engine

pytestmark = pytest.mark.timeout(900)
P = stacks.PROJECT

GOLD = {
    "rateLimit": 1,
    "burstLimit": 2,
    "quota": {"limit": 1000, "period": "DAY"},
    "clients": ["default"],
}
CHANGES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    (
        "a plan's rate",
        {"usagePlans": {"basic": {"rateLimit": 4}}},
        {f"{P}-plan-basic": "update", f"{P}-dashboard": "update"},
    ),
    (
        "a new plan",
        {"usagePlans": {"gold": GOLD}},
        {
            f"{P}-plan-gold": "create",
            f"{P}-key-gold.default": "create",
            f"{P}-plan-key-gold.default": "create",
            f"{P}-dashboard": "update",
        },
    ),
    (
        "a key in place of another",
        {"usagePlans": {"basic": {"keys": {"default": [2]}}}},
        {
            f"{P}-key-basic.default.2": "create",
            f"{P}-plan-key-basic.default.2": "create",
            f"{P}-key-basic.default": "delete",
            f"{P}-plan-key-basic.default": "delete",
        },
    ),
    (
        "one more zone",
        {"network": {"availabilityZones": 3}},
        {
            f"{P}-subnet-2": "create",
            f"{P}-subnet-2-routes": "create",
            f"{P}-function": "update",
        },
    ),
    (
        "an e-mail address",
        {"monitoring": {"alarmEmails": ["ops@example.com"]}},
        {f"{P}-alarms-to-ops@example.com": "create"},
    ),
]
"""A change of each kind, and all that it may touch. `test_change_safety` has more."""


@pytest.fixture(scope="module", params=stacks.STACKS)
def deployed(engine: Callable[..., Engine], request: pytest.FixtureRequest) -> Iterator[Engine]:
    """A stack that is up. Both stay in one backend, side by side."""
    stack = engine(request.param)
    planned = stack.preview()
    stack.up()
    assert set(planned) - {"aws"} == set(stack.resources())
    assert set(planned.values()) == {"create"}
    yield stack
    stack.configure()
    stack.up()


@pytest.fixture
def as_configured(deployed: Engine) -> Iterator[Engine]:
    """The stack, whose config a test may change."""
    yield deployed
    deployed.configure()


def test_a_second_update_changes_nothing(deployed: Engine) -> None:
    assert set(deployed.up()) == {"same"}


@pytest.mark.parametrize(
    ("changes", "touched"), [row[1:] for row in CHANGES], ids=[row[0] for row in CHANGES]
)
def test_a_change_touches_only_what_it_should(
    as_configured: Engine, changes: dict[str, Any], touched: dict[str, str]
) -> None:
    as_configured.configure(**changes)

    assert as_configured.preview() == touched


@pytest.mark.parametrize(
    "changes",
    [{"stageName": "other"}, {"network": {"cidr": "10.200.0.0/16"}}, {"table": "another key"}],
    ids=["stage name", "CIDR", "table's key"],
)
def test_a_protected_stack_refuses_to_replace_what_cannot_be_recovered(
    engine: Callable[..., Engine], deployed: Engine, changes: dict[str, Any]
) -> None:
    if deployed.name != "prod":
        pytest.skip("stack dev protects nothing")
    before = len(deployed.calls())
    stack = deployed
    if "table" in changes:
        key = {"hash_key": "other", "attributes": [{"name": "other", "type": "S"}]}
        stack = engine("prod", lambda: _given("aws:dynamodb/table:Table", **key))
    else:
        stack.configure(**changes)
    try:
        with pytest.raises(automation.CommandError, match="protect"):
            stack.preview()
        assert len(deployed.calls()) == before
    finally:
        engine("prod").configure()


def _given(type_: str, **properties: Any) -> None:  # noqa: ANN401  JSON
    """Give resources of a type other properties, as other code would."""

    def change(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        if args.type_ != type_:
            return None
        return pulumi.ResourceTransformationResult({**args.props, **properties}, args.opts)

    pulumi.runtime.register_stack_transformation(change)


def test_a_violation_of_the_policy_pack_stops_an_update_at_that_resource(
    as_configured: Engine, engine: Callable[..., Engine], backend: Path
) -> None:
    pack = [str(backend / "policy")]
    assert set(as_configured.up(policy_packs=pack)) == {"same"}
    before = len(as_configured.calls())
    as_configured.configure(usagePlans={"gold": GOLD})
    plan = "aws:apigateway/usagePlan:UsagePlan"
    changed = engine(as_configured.name, lambda: _given(plan, quota_settings=None))
    changed.configure(usagePlans={"gold": GOLD})

    with pytest.raises(automation.CommandError) as caught:
        changed.up(policy_packs=pack)

    assert "[mandatory]  plan-has-quota" in str(caught.value)
    assert "Fix: Set quota_settings in components/" in str(caught.value)
    touched = [call["urn"].rpartition("::")[2] for call in changed.calls()[before:]]
    assert not {f"{P}-plan-gold", f"{P}-plan-basic", f"{P}-plan-key-gold.default"} & {*touched}


def test_what_the_config_turns_off_is_advised_against_and_does_not_stop(
    as_configured: Engine, backend: Path
) -> None:
    if as_configured.name != "dev":
        pytest.skip("production must have a web ACL")
    as_configured.configure(waf={"enabled": False}, function={"reservedConcurrency": "none"})

    done = as_configured.stack.preview(policy_packs=[str(backend / "policy")])

    for rule in ("web-acl-turned-off", "function-reservation-turned-off"):
        assert f"[advisory]  {rule}" in done.stdout
    assert "[mandatory]" not in done.stdout


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"throttle": {"rateLimit": "fast"}}, "throttle.rateLimit"),
        ({"usagePlans": {"basic": {"ratelimit": 5}}}, "did you mean rateLimit"),
        ({"usagePlans": {"basic": {"rateLimit": 100_000}}}, "usagePlans.basic.rateLimit"),
    ],
    ids=["wrong type", "unknown key", "contradiction"],
)
def test_a_wrong_config_is_one_error_with_its_command_and_changes_nothing(
    as_configured: Engine, changes: dict[str, Any], message: str
) -> None:
    before = len(as_configured.calls())
    as_configured.configure(**changes)

    with pytest.raises(automation.CommandError) as caught:
        as_configured.up()

    text = str(caught.value)
    assert message in text
    assert "pulumi config " in text
    assert "Traceback" not in text
    assert len(as_configured.calls()) == before


def test_an_update_that_failed_half_way_is_finished_by_the_next_one(
    as_configured: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_configured.configure(usagePlans={"gold": GOLD})
    monkeypatch.setenv("PROVIDER_FAILS_AT", "plan-key-gold")
    before = len(as_configured.calls())
    with pytest.raises(automation.CommandError, match="told to fail"):
        as_configured.up()
    monkeypatch.delenv("PROVIDER_FAILS_AT")

    as_configured.up()

    made = [call["urn"] for call in as_configured.calls()[before:] if call["call"] == "create"]
    assert any("plan-gold" in urn for urn in made)
    assert len(made) == len(set(made))
    assert set(as_configured.up()) == {"same"}


def test_what_replaces_a_resource_is_there_before_the_old_one_is_deleted(
    as_configured: Engine,
) -> None:
    if as_configured.name != "dev":
        pytest.skip("stack prod is protected")
    method = {"throttle": {"methods": {"POST /data": {"rateLimit": 5, "burstLimit": 5}}}}
    replaced = set()
    for changes in (
        {"function": {"snapStart": True}, **method},
        {"stageName": "other", "network": {"cidr": "10.99.0.0/16"}, **method},
    ):
        before = len(as_configured.calls())
        as_configured.configure(**changes)
        as_configured.up()
        steps = as_configured.calls()[before:]
        deleted = {step["urn"]: at for at, step in enumerate(steps) if step["call"] == "delete"}
        made = {step["urn"]: at for at, step in enumerate(steps) if step["call"] == "create"}
        for urn in deleted.keys() & made.keys():
            assert made[urn] < deleted[urn], urn
            # Nothing deletes what it has just made.
            assert steps[made[urn]]["id"] != steps[deleted[urn]]["id"], urn
            replaced.add(urn.rpartition("::")[2])
        # Nothing is deleted while something newer is not there yet.
        assert max(made.values()) < min(deleted.values(), default=len(steps))
    assert {
        f"{P}-{name}"
        for name in (
            *("stage", "execution-logs", "throttle", "throttle-data-post", "may-invoke-post-data"),
            *("web-acl-association", "vpc", "flow-log", "subnet-0-routes", "dynamodb-endpoint"),
        )
    } <= replaced


def test_no_event_and_no_state_holds_an_api_key_in_plain_text(deployed: Engine) -> None:
    keys = deployed.stack.outputs()["apiKeys"]
    assert keys.secret
    values = [value for clients in keys.value.values() for value in clients.values()]
    assert values
    state = "".join(path.read_text("utf-8") for path in deployed.state.rglob("*.json"))
    assert deployed.name in state
    for value in values:
        assert value not in state
        assert not any(value in event for event in deployed.said)


def test_destroy_leaves_only_what_is_kept_on_purpose(engine: Callable[..., Engine]) -> None:
    stack = engine("dev")
    before = len(stack.calls())
    present = set(stack.resources())

    stack.destroy()

    deleted = {
        call["urn"].rpartition("::")[2]
        for call in stack.calls()[before:]
        if call["call"] == "delete"
    }
    kept = {name for name in present if name.startswith(f"{P}-") or name == P} - deleted
    components = {P}
    assert kept - components == {
        f"{P}-gateway-account",
        f"{P}-gateway-logs-policy",
        f"{P}-gateway-logs-role",
    }
    assert stack.resources() == []
