"""The newest requests, kept and decided again."""

from typing import Any

import pytest

from settings import UserError
from tests.stacks import ROOT, settings
from throttling import Client
from tools.page import recent as recent_module
from tools.page.recent import OUTCOMES, Recent, Requests
from tools.page.trial import decide

BASIC, PREMIUM = Client("basic", "default"), Client("premium", "default")
LIMITS = settings("dev").limits()


class _Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def add(recent: Recent, client: Client | None = BASIC, **changes: object) -> None:
    """Add a request that was answered at once."""
    usual: dict[str, object] = {
        "began": 1_000_000.0,
        "seconds": 0.1,
        "client": client,
        "method": "POST /data",
        "address": "203.0.113.7",
        "layer": "function",
        "subject": "",
        "status": 200,
        "line": "POST /dev/data",
    }
    recent.add(**(usual | changes))  # type: ignore[arg-type]


def tried(requests: Requests, *changes: str, before: tuple[str, ...] = ()) -> dict[str, Any]:
    return decide(requests, LIMITS, ROOT, "dev", before, changes)


def counts(found: dict[str, Any]) -> dict[tuple[str, str], list[int]]:
    return {(row["client"], row["outcome"]): row["counts"] for row in found["rows"]}


def test_requests_are_decided_under_the_limits_in_force_and_others() -> None:
    recent = Recent(_Clock())
    for index in range(60):
        stored = index < 10
        layer = "function" if stored else "usage-plan"
        add(recent, layer=layer, seconds=0.1 if stored else float("nan"))
    add(recent, PREMIUM, began=1_000_000.5)
    add(recent, None, method="", layer="route", status=403, began=1_000_000.2)
    found = tried(recent.requests(), "usagePlans.basic.burstLimit=25", "waf.rateLimit=50")
    assert counts(found) == {
        ("basic/default", "admitted"): [10, 10, 25],
        ("basic/default", "waf"): [0, 0, 10],
        ("basic/default", "usage-plan"): [50, 50, 25],
        ("premium/default", "admitted"): [1, 1, 0],
        ("premium/default", "waf"): [0, 0, 1],
        ("no-key", "admitted"): [0, 0, 0],
        ("no-key", "waf"): [0, 0, 1],
        ("no-key", "api-key"): [1, 1, 0],
        ("all clients", "admitted"): [11, 11, 25],
        ("all clients", "waf"): [0, 0, 12],
        ("all clients", "api-key"): [1, 1, 0],
        ("all clients", "usage-plan"): [50, 50, 25],
    }
    assert (found["requests"], found["from"], found["agreement"]) == (62, 1_000_000.0, 1.0)


def test_what_happened_is_not_what_the_limits_in_force_say_after_a_change() -> None:
    recent = Recent(_Clock())
    for _ in range(20):
        add(recent)
    found = tried(recent.requests())
    assert counts(found)["basic/default", "admitted"] == [20, 10, 10]
    assert found["agreement"] == 0.5


@pytest.mark.usefixtures("shipped_route")
def test_a_trial_says_what_the_limits_mean_and_how_to_set_them() -> None:
    none = Recent().requests()
    changes = ("usagePlans.basic.quota.limit=10000", "usagePlans.basic.rateLimit=15")
    same = "usagePlans.premium.quota.limit=10000"
    found = tried(none, *changes, same, before=("waf.rateLimit=10", same))
    assert found["commands"][:2] == [
        "pulumi config set --path fixture-api:usagePlans.basic.quota.limit 10000 --stack dev",
        "pulumi config set --path fixture-api:usagePlans.basic.rateLimit 15 --stack dev",
    ]
    findings = [one["key"] for one in found["findings"]]
    assert sorted(findings) == [
        "fixture-api:usagePlans.basic.quota.limit",
        "fixture-api:usagePlans.premium.quota.limit",
    ]
    assert [findings[index] for index in found["new"]] == [
        "fixture-api:usagePlans.basic.quota.limit"
    ]
    assert {one["key"] for one in found["gone"]} == {"fixture-api:waf.rateLimit"}
    before, after = found["cost"]
    assert 0 < after < before
    assert "rows" not in found
    with pytest.raises(UserError, match="can never be reached behind"):
        tried(none, "usagePlans.basic.rateLimit=1000")


def test_only_the_newest_requests_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recent_module, "KEPT", 4)
    recent = Recent(clock := _Clock())
    for index in range(6):
        clock.now += 1
        add(
            recent,
            began=clock.now,
            address=f"203.0.113.{index}",
            client=(BASIC, PREMIUM)[index % 2],
        )
    found = tried(recent.requests())
    assert (found["requests"], found["from"]) == (4, 1_000_003.0)
    assert counts(found)["basic/default", "admitted"] == [2, 2, 2]


def test_history_counts_seconds_and_forgets_after_fifteen_minutes() -> None:
    recent = Recent(clock := _Clock())
    add(recent, status=400)
    add(recent, layer="waf", status=429)
    clock.now += 1.5
    add(recent, status=503)
    numbers = [dict(zip(OUTCOMES, one, strict=True)) for one in recent.history.values()]
    assert list(recent.history) == [1_000_000, 1_000_001]
    assert [(one["admitted"], one["failed"], one["waf"]) for one in numbers] == [
        (1, 0, 1),
        (0, 1, 0),
    ]
    clock.now += 900
    add(recent)
    assert list(recent.history) == [1_000_001, 1_000_901]


def test_each_refusal_is_news_once(monkeypatch: pytest.MonkeyPatch) -> None:
    recent = Recent(_Clock())
    add(recent)
    add(recent, layer="quota", subject="basic", status=429, line="x" * 300)
    (news,) = recent.refusals(0)
    assert (news["client"], news["layer"], news["subject"]) == ("basic/default", "quota", "basic")
    assert len(news["request"]) == 200
    assert recent.refusals(recent.number) == []


def test_addresses_of_callers_do_not_fill_the_memory() -> None:
    recent = Recent(_Clock())
    for index in range(1000):
        add(recent, address=str(index))
    assert len(recent.clients) == 64
