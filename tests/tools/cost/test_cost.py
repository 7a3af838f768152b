"""The most that a month can bill, and the month that traffic makes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS
from settings import UserError
from tests.stacks import ROOT, settings
from tools.__main__ import main
from tools.cost.bill import PRICES, bill, not_bounded, read_prices, worst
from tools.traffic.derived import PROFILES

LIST = read_prices()
SECONDS = 31 * 24 * 60 * 60


@pytest.mark.parametrize(
    ("counts", "dollars"),
    [
        # https://aws.amazon.com/api-gateway/pricing/: 5 million calls that return 3 KB each.
        ({"requests that API Gateway bills": 5e6, "GB of answers": 14.3}, 18.79),
        ({"requests that API Gateway bills": 1.2e9}, 333 * 3.50 + 667 * 2.80 + 200 * 2.38),
        # https://aws.amazon.com/lambda/pricing/: 3 million requests of 120 ms with 1,536 MB, less
        # the free tier.
        (
            {"requests to the function": 2e6, "GB-seconds of the function, x86_64": 140_000},
            0.40 + 2.33,
        ),
        # https://aws.amazon.com/waf/pricing/: 19 rules and 10 million requests.
        (
            {
                "web ACL": 1,
                "rules of the web ACL": 19,
                "requests that the web ACL sees": 10e6,
            },
            30.00,
        ),
        # https://aws.amazon.com/xray/pricing/: 2,000 requests an hour, 10 % sampled, less 100,000.
        ({"traces": 2000 * 24 * 31 * 0.1 - 100_000}, 0.24),
        # https://aws.amazon.com/dynamodb/pricing/on-demand/: $0.625 per million write units.
        ({"write units": 650_000}, 0.41),
    ],
)
def test_examples_of_aws_cost_what_aws_says(counts: dict[str, float], dollars: float) -> None:
    total = sum(LIST.dollars(what, count) for what, count in counts.items())
    assert total == pytest.approx(dollars, abs=0.005)


def most(stack: str = "prod", **changes: Any) -> dict[str, tuple[float, str]]:  # noqa: ANN401
    """Return count and bound of each line of the worst month."""
    one = settings(stack, **changes)
    return {what: (count, why) for what, count, why in bill(one, worst(one), LIST)}


def test_the_worst_month_of_a_stack_worked_by_hand() -> None:
    plan = {"rateLimit": 2, "burstLimit": 5, "quota": {"limit": 1000}, "clients": ["a", "b"]}
    function = {"memoryMb": 512, "timeoutSeconds": 10, "reservedConcurrency": 5}
    found = most(usagePlans=json.dumps({"only": plan}), function=function)

    requests = 2 * 1000 * 31
    units = requests * 7
    bytes_of = {"access log": 600, "function log": 14_300, "web ACL log": 15_000}
    gb = {f"GB of {name}": requests * size / 1e9 for name, size in bytes_of.items()}
    assert {what: count for what, (count, _) in found.items()} == pytest.approx(
        {
            "requests that the web ACL sees": requests,
            "web ACL": 1,
            "rules of the web ACL": 1,
            "requests that API Gateway bills": requests,
            "GB of answers": requests / 1e6,
            "requests to the function": requests,
            "GB-seconds of the function, arm64": requests * 10 / 2,
            "write units": units,
            "GB of new items": units * 1024 / 1e9,
            "GB of their backup": units * 1024 / 1e9,
            **gb,
            # 365 days of such months, compressed to 15 %.
            "GB of kept logs, compressed": sum(gb.values()) * 0.15 * 365 / 31,
            "traces": requests,
            # Four counts in the access log, two for each of two keys, five of the route.
            "metrics": 4 + 2 * 2 + 5,
            "alarms": 10,
            "dashboards": 1,
        }
    )
    assert found["requests that API Gateway bills"][1] == "quotas"
    why = "512 MB, 10 s for each; 3,100 at 100 ms"
    assert found["GB-seconds of the function, arm64"][1] == why


def quota(limit: int, period: str = "DAY", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the change to one plan, of one client, whose rate is 2 a second."""
    plan = {"rateLimit": 2, "burstLimit": 5, "quota": {"limit": limit, "period": period}}
    return {"usagePlans": json.dumps({"only": plan}), **more}


NO_QUOTA = 2_000_000_000
ONE = {"rateLimit": 1, "burstLimit": 9}
SAMPLING = "X-Ray's sampling: one a second, and 5 %"
GATEWAY, FUNCTION = "requests that API Gateway bills", "requests to the function"
BUSY, WRITES = "GB-seconds of the function, arm64", "write units"


@pytest.mark.parametrize(
    ("changes", "what", "count", "why"),
    [
        (quota(100, "WEEK"), GATEWAY, 600, "quotas"),  # a month touches six weeks
        (quota(100, "MONTH"), GATEWAY, 100, "quotas"),
        (quota(NO_QUOTA), GATEWAY, 2 * SECONDS + 5, "plans' rates"),
        (
            {"throttle": {"rateLimit": 500, "burstLimit": 1000}, **quota(NO_QUOTA)},
            GATEWAY,
            2 * SECONDS + 5,
            "plans' rates",
        ),
        (
            quota(NO_QUOTA, throttle={"methods": {"POST /data": ONE}}),
            GATEWAY,
            SECONDS + 9,
            "the stage's rate",
        ),
        (
            {"function": {"reservedConcurrency": 1}, "usagePlans": {"basic": {"quota": {
                "limit": NO_QUOTA}}}},
            FUNCTION,
            10 * SECONDS,
            "concurrency 1, ten requests a second for each",
        ),
        (quota(NO_QUOTA), BUSY, (2 * SECONDS + 5) * 10, "10 s for each; 535,680 at 100 ms"),
        (
            quota(NO_QUOTA, function={"reservedConcurrency": 3}),
            BUSY,
            3 * SECONDS,
            "concurrency 3; 535,680 at 100 ms",
        ),
        (
            quota(NO_QUOTA, table={"maxWriteRequestUnits": 4}),
            WRITES,
            4 * SECONDS,
            "the table's cap of 4 a second",
        ),
        (quota(NO_QUOTA), "traces", SECONDS * 1.1 + 0.25, SAMPLING),
        (
            {"waf": {"managedRuleGroups": [{"name": "G", "vendorName": "F5", "wcu": 2000}]}},
            "500 WCU above 1,500, for each request",
            2 * 110_000 * 31,
            "2,002 WCU",
        ),
        ({"function": {"snapStart": True}}, "GB-seconds of the snapshot", SECONDS, "fixed"),
        ({"waf": {"shadow": {"rateLimit": 10}}}, "rules of the web ACL", 2, "fixed"),
        ({"waf": {"logOnly": "BLOCKED"}}, "GB of web ACL log", 0, "15,000 bytes for each request"),
    ],
)  # fmt: skip
def test_each_thing_is_bounded_by_the_limit_that_is_reached_first(
    changes: dict[str, Any], what: str, count: float, why: str
) -> None:
    found = most(**changes)[what]
    assert found[0] == pytest.approx(count)
    assert found[1].removeprefix("1,024 MB, ") == why


def test_what_is_turned_off_is_not_billed() -> None:
    rest = most(
        waf={"enabled": False},
        table={"pointInTimeRecovery": False},
        monitoring={"dashboard": False},
    )
    gone = most().keys() - rest.keys()
    assert gone == {
        *("requests that the web ACL sees", "web ACL", "rules of the web ACL"),
        *("GB of web ACL log", "GB of their backup", "dashboards"),
    }


def test_the_sizes_are_those_of_the_product() -> None:
    largest = MAX_ID_BYTES + 4 * MAX_TITLE_CHARACTERS + len("idtitleyear") + 21
    assert largest <= LIST.sizes["units to write"][1] * 1024 < largest + 1024
    # tests/handler/test_events.py holds the log of one request to this.
    assert LIST.sizes["function log bytes"][1] >= 6 * MAX_ID_BYTES + 1000


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command for the fixture stacks; return what it prints."""
    status = main(["cost", "--stack", "prod", *words])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_what_no_limit_bounds_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()

    assert lines[:2] == [
        "Stack prod: what no limit bounds",
        "- AWS WAF bills every request that it sees, blocked ones too. No limit bounds how many "
        "requests arrive: each million more costs $0.60, and $0.30 for the access log, besides its "
        "line in the web ACL's log.",
    ]
    assert "best-effort" in lines[2]
    (total,) = (line.split() for line in lines if line.startswith("total"))
    everything = sum(LIST.dollars(what, count) for what, (count, _) in most().items())
    assert float(total[1].replace(",", "")) == pytest.approx(everything, abs=0.2)
    assert "List prices (us-east-1, 2026-11-25), without free tiers:" in lines
    assert "  https://aws.amazon.com/lambda/pricing/" in lines


def test_no_web_acl_and_other_vendors_are_said() -> None:
    off = not_bounded(settings("prod", waf={"enabled": False}), LIST)
    assert off[0].startswith(
        "No limit bounds how many requests arrive: each million more costs $0.30"
    )
    groups = [{"name": "Bots", "vendorName": "F5", "wcu": 5}, "AWSManagedRulesAnonymousIpList"]
    others = not_bounded(settings("prod", waf={"managedRuleGroups": groups}), LIST)
    assert [one for one in others if "vendor" in one] == [
        "The vendor of rule group Bots has prices of its own."
    ]


def test_the_expected_month_stands_beside_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    client = ("--client", "basic/default=10rps,for=10m,ips=100")
    found = json.loads(run(capsys, *client, "--format", "json"))

    lines = {line["what"]: line for line in found["lines"]}
    requests = lines[GATEWAY]["expected"]["count"]
    assert requests == pytest.approx(6000 * 31, rel=0.05), "once a day"
    assert lines[BUSY]["expected"]["count"] == pytest.approx(requests / 10)
    assert lines[WRITES]["expected"]["count"] == requests
    assert lines[GATEWAY]["most"] == {"count": 3_410_000, "dollars": 11.94}
    assert lines[GATEWAY]["boundedBy"] == "quotas"
    assert lines[GATEWAY]["page"] == "https://aws.amazon.com/api-gateway/pricing/"
    assert found["dollars"]["expected"] < found["dollars"]["most"]
    two_days = ("--client", "basic/default=0.01rps,for=48h")
    found = json.loads(run(capsys, *two_days, "--format", "json"))
    (sent,) = (line["expected"]["count"] for line in found["lines"] if line["what"] == GATEWAY)
    assert sent == pytest.approx(0.01 * SECONDS, rel=0.1), "all the time"


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_bills_more_than_the_worst_month(
    capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    found = json.loads(run(capsys, "--profile", profile, "--format", "json"))

    unbounded = {"requests that the web ACL sees", "GB of access log", "GB of web ACL log"}
    for line in found["lines"]:
        if line["what"] not in unbounded:
            assert line["expected"]["count"] <= line["most"]["count"], line


def changed_list(path: tuple[str, ...], value: object) -> str:
    """Return the price list with one value replaced; None removes it."""
    tree = yaml.safe_load(PRICES.read_text())
    place = tree
    for step in path[:-1]:
        place = place[step]
    if value is None:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return str(yaml.safe_dump(tree))


def test_other_prices_are_taken_from_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(changed_list(("prices", "web ACL", "tiers"), [[None, 50]]))
    before, after = (
        json.loads(run(capsys, *words, "--format", "json"))["dollars"]["most"]
        for words in ((), ("--prices", str(file)))
    )
    assert after == pytest.approx(before + 45)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory"),
        ("a: [", "it is not YAML"),
        ("", "Input should be a valid dictionary"),
        (changed_list(("prices", "traces"), None), "it lacks 'traces'"),
        (changed_list(("sizes", "units to write"), None), "it lacks 'units to write'"),
        (changed_list(("date",), "soon"), "date: Input should be a valid date"),
        (changed_list(("prices", "traces", "tiers"), [[None, -1]]), "prices.traces.tiers.0.1: "),
        (changed_list(("prices", "traces", "tiers"), [[5, 1]]), "must rise to one up to null"),
        (changed_list(("prices", "traces", "tiers"), []), "must rise to one up to null"),
        (changed_list(("prices", "traces", "page"), "x"), "prices.traces.page: "),
    ],
)
def test_a_bad_price_list_is_one_clear_line(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "prices.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as error:
        read_prices(file)
    message = str(error.value)
    assert message.startswith(f"--prices {file}: ")
    assert message.endswith(f"Start from a copy of {PRICES}.")
    assert problem in message
    assert "\n" not in message
