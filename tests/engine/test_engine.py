"""What the README promises about previews, updates and deletions, under Pulumi's real engine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pulumi
import pytest
from pulumi import automation

from tests import stacks
from tests.engine.conftest import Engine, main

pytestmark = pytest.mark.timeout(600)
P: Final = stacks.PROJECT

GOLD: Final = {"rateLimit": 1, "burstLimit": 2, "quota": {"limit": 1000}}
CHANGES: Final[dict[str, tuple[dict[str, Any], dict[str, str]]]] = {
    "a plan's rate": (
        {"usagePlans": {"basic": {"rateLimit": 4}}},
        {"plan-basic": "update", "dashboard": "update"},
    ),
    "a new plan": (
        {"usagePlans": {"gold": GOLD}},
        {
            **dict.fromkeys(("plan-gold", "key-gold.default", "plan-key-gold.default"), "create"),
            "dashboard": "update",
        },
    ),
    "a key in place of another": (
        {"usagePlans": {"basic": {"keys": {"default": [2]}}}},
        {
            **dict.fromkeys(("key-basic.default.2", "plan-key-basic.default.2"), "create"),
            **dict.fromkeys(("key-basic.default", "plan-key-basic.default"), "delete"),
        },
    ),
    "one more zone": (
        {"network": {"availabilityZones": 3}},
        {"subnet-2": "create", "subnet-2-routes": "create", "function": "update"},
    ),
    "an e-mail address": (
        {"monitoring": {"alarmEmails": ["ops@example.com"]}},
        {"alarms-to-ops@example.com": "create"},
    ),
}
"""A change of each kind, and all that it may touch. `test_change_safety` has more."""
WRONG: Final[list[tuple[dict[str, Any], str]]] = [
    ({"throttle": {"rateLimit": "fast"}}, "throttle.rateLimit"),
    ({"usagePlans": {"basic": {"ratelimit": 5}}}, "did you mean rateLimit"),
    ({"usagePlans": {"basic": {"rateLimit": 100_000}}}, "usagePlans.basic.rateLimit"),
]
"""A wrong value, an unknown key and a contradiction, and a part of what is said about each."""


@pytest.fixture(scope="module", params=stacks.STACKS)
def deployed(backend: Path, request: pytest.FixtureRequest) -> Engine:
    """A stack that is up. Both stay in one backend, side by side."""
    stack = Engine(backend, request.param)
    stack.configure()
    planned = stack.preview()
    stack.up()
    assert planned == dict.fromkeys([*stack.resources(), "aws"], "create")
    return stack


@pytest.fixture
def stack(deployed: Engine) -> Iterator[Engine]:
    """The stack, whose config and program a test may change. What it deploys stays."""
    yield deployed
    deployed.configure()
    deployed.program = main


def given(type_: str, **properties: Any) -> None:  # noqa: ANN401  JSON
    """Run the program, and give its resources of a type other properties, as other code would."""

    def change(
        args: pulumi.ResourceTransformationArgs,
    ) -> pulumi.ResourceTransformationResult | None:
        same = args.type_ == type_
        props = {**args.props, **properties}
        return pulumi.ResourceTransformationResult(props, args.opts) if same else None

    pulumi.runtime.register_stack_transformation(change)
    main()


def names(calls: list[dict[str, Any]], call: str) -> list[str]:
    return [one["urn"].rpartition("::")[2] for one in calls if one["call"] == call]


def test_a_second_update_changes_nothing(stack: Engine) -> None:
    assert stack.up() == {"same"}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_touches_only_what_it_should(stack: Engine, kind: str) -> None:
    changes, touched = CHANGES[kind]
    stack.configure(**changes)

    assert stack.preview() == {f"{P}-{name}": operation for name, operation in touched.items()}


def test_a_wrong_config_is_one_error_with_its_command_and_changes_nothing(stack: Engine) -> None:
    before = stack.calls()
    for changes, said in WRONG:
        stack.configure(**changes)
        with pytest.raises(automation.CommandError) as caught:
            stack.up()
        text = str(caught.value)
        assert said in text
        assert "pulumi config " in text
        assert "Traceback" not in text
    assert stack.calls() == before


def test_a_protected_stack_refuses_to_replace_what_cannot_be_recovered(stack: Engine) -> None:
    if stack.name == "dev":
        pytest.skip("stack dev protects nothing")
    before = stack.calls()
    for changes in ({"stageName": "other"}, {"network": {"cidr": "10.200.0.0/16"}}):
        stack.configure(**changes)
        with pytest.raises(automation.CommandError, match="protect"):
            stack.preview()
    stack.configure()
    key = {"hash_key": "other", "attributes": [{"name": "other", "type": "S"}]}
    stack.program = lambda: given("aws:dynamodb/table:Table", **key)
    with pytest.raises(automation.CommandError, match="protect"):
        stack.preview()
    assert stack.calls() == before


def test_a_violation_of_the_policy_pack_stops_an_update_at_that_resource(
    stack: Engine, backend: Path
) -> None:
    pack = [str(backend / "policy")]
    assert stack.up(policy_packs=pack) == {"same"}
    before = len(stack.calls())
    stack.configure(usagePlans={"silver": GOLD})
    stack.program = lambda: given("aws:apigateway/usagePlan:UsagePlan", quota_settings=None)

    with pytest.raises(automation.CommandError) as caught:
        stack.up(policy_packs=pack)

    assert "[mandatory]  plan-has-quota" in str(caught.value)
    assert "Fix: Set quota_settings in components/" in str(caught.value)
    touched = {call["urn"].rpartition("::")[2] for call in stack.calls()[before:]}
    assert not {name for name in touched if f"{P}-plan-" in name}


def test_an_update_that_failed_half_way_is_finished_by_the_next_one(
    stack: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack.configure(usagePlans={"gold": GOLD})
    before = len(stack.calls())
    with monkeypatch.context() as patch:
        patch.setenv("PROVIDER_FAILS_AT", "plan-key-gold")
        with pytest.raises(automation.CommandError, match="told to fail"):
            stack.up()

    stack.up()

    made = names(stack.calls()[before:], "create")
    assert sorted(made) == [f"{P}-{one}" for one in sorted(CHANGES["a new plan"][1])][1:]
    assert stack.up() == {"same"}


def test_what_replaces_a_resource_is_there_before_the_old_one_is_deleted(stack: Engine) -> None:
    if stack.name == "prod":
        pytest.skip("stack prod is protected")
    method = {"throttle": {"methods": {"POST /data": {"rateLimit": 5, "burstLimit": 5}}}}
    replaced = set()
    for changes in (
        {"function": {"snapStart": True}, **method},
        {"stageName": "other", "network": {"cidr": "10.99.0.0/16"}, **method},
    ):
        before = len(stack.calls())
        stack.configure(**changes)
        stack.up()
        steps = stack.calls()[before:]
        made = {step["urn"]: at for at, step in enumerate(steps) if step["call"] == "create"}
        deleted = {step["urn"]: at for at, step in enumerate(steps) if step["call"] == "delete"}
        # Nothing is deleted while something newer is not there yet.
        assert max(made.values()) < min(deleted.values(), default=len(steps))
        for urn in deleted.keys() & made.keys():
            # Nothing deletes what it has just made.
            assert steps[made[urn]]["id"] != steps[deleted[urn]]["id"], urn
            replaced.add(urn.rpartition("::")[2].removeprefix(f"{P}-"))
    assert replaced >= {
        *("stage", "execution-logs", "throttle", "throttle-data-post", "may-invoke-post-data"),
        *("web-acl-association", "vpc", "flow-log", "subnet-0-routes", "dynamodb-endpoint"),
    }


def test_no_event_and_no_state_holds_an_api_key_in_plain_text(stack: Engine) -> None:
    keys = stack.stack.outputs()["apiKeys"]
    assert keys.secret
    values = [value for clients in keys.value.values() for value in clients.values()]
    state = "".join(path.read_text("utf-8") for path in stack.state.rglob("*.json"))
    said = "".join(stack.said)
    assert values
    assert f"{P}-key-basic.default" in state
    assert f"{P}-key-basic.default" in said
    assert not [value for value in values if value in state + said]


def test_destroy_leaves_only_what_is_kept_on_purpose(backend: Path) -> None:
    stack = Engine(backend, "dev")
    before, present = len(stack.calls()), stack.resources()

    stack.stack.destroy()

    deleted = names(stack.calls()[before:], "delete")
    kept = {name for name in present - {*deleted, P} if name.startswith(P)}
    assert kept == {f"{P}-gateway-{name}" for name in ("account", "logs-policy", "logs-role")}
    assert stack.resources() == set()
