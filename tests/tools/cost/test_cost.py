"""The most that a month can bill, and the month that traffic makes."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from handler.record import MAX_ID_BYTES, MAX_TITLE_CHARACTERS
from routes import ROUTES
from settings import UserError
from tests.stacks import ROOT, settings
from tests.tools.traffic.logs import line, write, write_keys
from throttling.simulation.simulator import simulate
from throttling.simulation.traffic import Arrivals, Traffic
from tools.__main__ import main
from tools.cost.bill import PRICES, bill, not_bounded, read_prices, worst
from tools.cost.command import expected
from tools.traffic.derived import PROFILES
from tools.traffic.profiles import parse_client

LIST = read_prices()
SECONDS = 31 * 24 * 60 * 60
GATEWAY, FUNCTION = "requests that API Gateway bills", "requests to the function"
BUSY, WRITES = "GB-seconds of the function, arm64", "write units"


@pytest.mark.parametrize(
    ("counts", "dollars"),
    [
        # https://aws.amazon.com/api-gateway/pricing/: 5 million calls that return 3 KB each.
        ({GATEWAY: 5e6, "GB of answers": 14.3}, 18.79),
        ({GATEWAY: 21e9}, 333 * 3.50 + 667 * 2.80 + 19_000 * 2.38 + 1_000 * 1.51),
        # https://aws.amazon.com/lambda/pricing/: 3 million requests of 120 ms with 1,536 MB, less
        # the free tier.
        ({FUNCTION: 2e6, "GB-seconds of the function, x86_64": 140_000}, 2.73),
        # https://aws.amazon.com/waf/pricing/: 19 rules and 10 million requests.
        (
            {"web ACL": 1, "rules of the web ACL": 19, "requests that the web ACL sees": 10e6},
            30.00,
        ),
        # https://aws.amazon.com/xray/pricing/: 2,000 requests an hour, 10 % sampled, less 100,000.
        ({"traces": 48_800}, 0.24),
        # https://aws.amazon.com/dynamodb/pricing/on-demand/: $0.625 per million write units.
        ({WRITES: 650_000}, 0.41),
    ],
)
def test_examples_of_aws_cost_what_aws_says(counts: dict[str, float], dollars: float) -> None:
    total = sum(LIST.dollars(what, count) for what, count in counts.items())
    assert total == pytest.approx(dollars, abs=0.005)


def most(**changes: Any) -> dict[str, tuple[float, str]]:  # noqa: ANN401
    """Return count and bound of each line of prod's worst month."""
    one = settings("prod", **changes)
    return {what: (count, why) for what, count, why in bill(one, LIST, *worst(one))}


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
            GATEWAY: requests,
            "GB of answers": requests / 1e6,
            FUNCTION: requests,
            BUSY: requests * 10 / 2,
            WRITES: units,
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
    # In dollars, by the prices on AWS's pages.
    millions = requests / 1e6
    hand = (
        (0.60 + 3.50 + 0.20 + 5.00) * millions  # web ACL, API Gateway, function, traces
        + (5 + 1) * 1  # web ACL and its rule
        + 0.09 * requests / 1e6  # a gigabyte of answers is a million requests
        + 0.0000133334 * requests * 10 / 2
        + 0.625 * 7 * millions
        + (0.25 + 0.20) * units * 1024 / 1e9
        + 0.50 * sum(gb.values())
        + 0.03 * sum(gb.values()) * 0.15 * 365 / 31
        + 0.30 * 13
        + 0.10 * 10
        + 3
    )
    total = sum(LIST.dollars(what, count) for what, (count, _) in found.items())
    assert total == pytest.approx(hand)
    assert hand == pytest.approx(20.11, abs=0.005)


MANY = 2_000_000_000
ONE = {"rateLimit": 1, "burstLimit": 9}


def plan(quota: int, period: str = "DAY", **more: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return the change to one plan with one client and 2 requests a second."""
    given = {"rateLimit": 2, "burstLimit": 5, "quota": {"limit": quota, "period": period}}
    return {"usagePlans": json.dumps({"only": given}), **more}


@pytest.mark.parametrize(
    ("changes", "what", "count", "why"),
    [
        (plan(10), GATEWAY, 310, "quotas"),
        (plan(10, "WEEK"), GATEWAY, 60, "quotas"),  # a month touches six weeks
        (plan(10, "MONTH"), GATEWAY, 10, "quotas"),
        (plan(MANY), GATEWAY, 2 * SECONDS + 5, "plans' rates"),
        (
            plan(MANY, throttle={"methods": {"POST /data": ONE}}),
            GATEWAY,
            SECONDS + 9,
            "the stage's rate",
        ),
        (
            {"usagePlans": {"basic": {"quota": {"limit": MANY}}, "premium": ONE}}
            | {"function": {"reservedConcurrency": 1}},
            FUNCTION,
            10 * SECONDS,
            "concurrency 1, 10/s for each",
        ),
        (plan(MANY), BUSY, (2 * SECONDS + 5) * 10, "10 s for each; 535,680 at 100 ms"),
        (
            plan(MANY, function={"reservedConcurrency": 3}),
            BUSY,
            3 * SECONDS,
            "concurrency 3; 535,680 at 100 ms",
        ),
        (
            plan(MANY, table={"maxWriteRequestUnits": 4}),
            WRITES,
            4 * SECONDS,
            "the table's cap of 4 a second",
        ),
        (
            plan(MANY),
            "traces",
            SECONDS * 1.1 + 0.25,
            "X-Ray's sampling: one a second, and 5 %",
        ),
        (
            plan(10, waf={"managedRuleGroups": [{"name": "G", "wcu": 2000}]}),
            "500 WCU above 1,500, for each request",
            2 * 310,
            "2,002 WCU",
        ),
        ({"function": {"snapStart": True}}, "GB-seconds of the snapshot", SECONDS, "fixed"),
        ({"waf": {"shadow": {"rateLimit": 10}}}, "rules of the web ACL", 2, "fixed"),
        ({"waf": {"logOnly": "BLOCKED"}}, "GB of web ACL log", 0, "15,000 bytes for each request"),
    ],
)
def test_each_thing_is_bounded_by_the_limit_that_is_reached_first(
    changes: dict[str, Any], what: str, count: float, why: str
) -> None:
    found = most(**changes)[what]
    assert found[0] == pytest.approx(count)
    assert found[1].removeprefix("1,024 MB, ") == why


def test_what_is_turned_off_is_not_billed() -> None:
    off = {"waf": {"enabled": False}, "monitoring": {"dashboard": False}}
    gone = most().keys() - most(**off, table={"pointInTimeRecovery": False}).keys()
    assert gone == {
        *("requests that the web ACL sees", "web ACL", "rules of the web ACL"),
        *("GB of web ACL log", "GB of their backup", "dashboards"),
    }
    assert most().keys() - most(waf={"logging": False}).keys() == {"GB of web ACL log"}


def test_without_keys_quotas_bound_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    routes = [route._replace(needs_key=False) for route in ROUTES]
    monkeypatch.setattr("tools.cost.bill.ROUTES", routes)
    assert most()[GATEWAY] == (1000 * SECONDS + 2000, "the stage's rate")


def test_the_sizes_are_those_of_the_product() -> None:
    largest = MAX_ID_BYTES + 4 * MAX_TITLE_CHARACTERS + len("idtitleyear") + 21
    assert largest <= LIST.sizes["units to write"][1] * 1024 < largest + 1024
    # tests/handler/test_events.py holds the log of one request to this.
    assert LIST.sizes["function log bytes"][1] >= 6 * MAX_ID_BYTES + 1000


@pytest.fixture(autouse=True)
def _in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Run the command for the fixture stack prod; return what it prints."""
    status = main(["cost", "--stack", "prod", *words])
    out, err = capsys.readouterr()
    assert (status, err) == (0, "")
    return out


def as_json(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """Run the command; return the lines by what they are about, and the total."""
    found = json.loads(run(capsys, *words, "--format", "json"))
    return {line["what"]: line for line in found["lines"]} | {"total": found["total"]}


def test_what_no_limit_bounds_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = run(capsys).splitlines()

    assert lines[:4] == [
        "Stack prod: what no limit bounds",
        "- AWS WAF bills every request that it sees, blocked ones too.",
        "- No limit bounds how many requests arrive. Each million more costs about $0.60 for the "
        "web ACL, $0.30 for the access log, $0.75 for the web ACL log.",
        "- AWS applies throttles and quotas on a best-effort basis: they are targets, not "
        "ceilings.",
    ]
    (total,) = (line.split() for line in lines if line.startswith("total"))
    assert total == ["total", "580.08"]
    assert "List prices (us-east-1, 2026-11-25), without free tiers:" in lines
    assert "  https://aws.amazon.com/lambda/pricing/" in lines


def test_other_vendors_and_snapshots_have_prices_of_their_own() -> None:
    groups = [{"name": "Bots", "vendorName": "F5", "wcu": 5}, "AWSManagedRulesAnonymousIpList"]
    changes = {"waf": {"managedRuleGroups": groups}, "function": {"snapStart": True}}
    more = [*not_bounded(settings("prod", **changes), LIST)][-2:]
    assert more == [
        "The vendor of rule group Bots has prices of its own.",
        "Starts from the snapshot are billed, and so are older snapshots.",
    ]
    without = next(not_bounded(settings("prod", waf={"enabled": False}), LIST))
    assert without.endswith("Each million more costs about $0.30 for the access log.")


def test_the_expected_month_stands_beside_the_worst(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "--client", "basic/default=10rps,for=10m,ips=100")

    requests = found[GATEWAY]["expected"]
    assert requests == pytest.approx(6000 * 31, rel=0.05), "once a day"
    assert found[BUSY]["expected"] == pytest.approx(requests / 10, abs=1)
    assert found[WRITES]["expected"] == requests
    assert found[GATEWAY] == {
        "what": GATEWAY,
        "most": 3_410_000,
        "mostDollars": 11.94,
        "expected": requests,
        "expectedDollars": pytest.approx(requests * 3.5e-6, abs=0.01),
        "boundedBy": "quotas",
        "page": "https://aws.amazon.com/api-gateway/pricing/",
    }
    long = as_json(capsys, "--client", "basic/default=0.01rps,for=48h")
    assert long[GATEWAY]["expected"] == pytest.approx(0.01 * SECONDS, rel=0.1), "all the time"


def test_what_the_layers_refuse_is_billed_as_far_as_it_comes() -> None:
    changes = {"waf": {"logOnly": "ALLOWED"}, "function": {"reservedConcurrency": 1}}
    one = settings("prod", **changes)
    sources = [parse_client("no-key=100rps,for=50s"), parse_client("basic/default=20rps,for=50s")]
    traffic = Traffic(sources=tuple(sources), arrivals=Arrivals.EVEN)
    result = simulate(one.limits(), traffic, duration_seconds=0.1)
    found = {what: count / 31 for what, count, _ in bill(one, LIST, expected(result))}

    # Each address may send 2,000. Of the others, ten a second keep the function busy.
    assert found["requests that the web ACL sees"] == 5000 + 1000
    assert found["GB of web ACL log"] == pytest.approx((2000 + 1000) * 1500 / 1e9)
    assert found[GATEWAY] == 1000
    assert found[FUNCTION] == pytest.approx(500, abs=15)


@pytest.mark.parametrize("profile", PROFILES)
def test_no_profile_bills_more_than_the_worst_month(
    capsys: pytest.CaptureFixture[str], profile: str
) -> None:
    found = as_json(capsys, "--profile", profile)

    unbounded = ("requests that the web ACL sees", "GB of access log", "GB of web ACL log", "total")
    assert [
        what
        for what, line in found.items()
        if what not in unbounded and line["expected"] > line["most"]
    ] == []


def changed_list(*path: str, value: object = None) -> str:
    """Return the price list with one value replaced, or removed."""
    tree = place = yaml.safe_load(PRICES.read_text())
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    place |= {} if value is None else {path[-1]: value}
    return str(yaml.safe_dump(tree))


def test_other_prices_are_taken_from_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(changed_list("prices", "web ACL", "dollars", value=50))
    total = as_json(capsys, "--prices", str(file))["total"]["mostDollars"]
    assert total == pytest.approx(580.08 + 45)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "No such file or directory"),
        ("a: [", "while parsing a flow node"),
        ("", "a mapping is expected"),
        (changed_list("prices", "traces"), "it lacks 'traces'"),
        (changed_list("sizes", "units to write"), "it lacks 'units to write'"),
        (changed_list("date", value="soon"), "date: Input should be a valid date"),
        (changed_list("prices", "traces", "dollars", value=-1), "prices.traces.dollars: "),
        (changed_list("prices", "traces", "per", value=0), "prices.traces.per: "),
        (changed_list("prices", "traces", "page", value="x"), "prices.traces.page: "),
    ],
)
def test_a_bad_price_list_is_one_clear_line(tmp_path: Path, text: str | None, problem: str) -> None:
    file = tmp_path / "prices.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(UserError) as error:
        read_prices(file)
    message = str(error.value)
    assert message.startswith(f"--prices {file}: {problem}")
    assert message.endswith(f". Start from a copy of {PRICES}.")
    assert "\n" not in message


def test_the_month_of_a_log_stands_beside_the_worst(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    sent = [line(requestTimeEpoch=str(1767571200000 + 1000 * n)) for n in range(20)]
    sent += [line(apiKeyId="other")]
    words = ("--log", str(write(tmp_path / "a.jsonl", sent)), "--keys", str(write_keys(tmp_path)))

    found = as_json(capsys, *words)

    assert found["requests that the web ACL sees"]["expected"] == 21 * 31, "once a day"
    assert found[GATEWAY]["expected"] == 20 * 31
    assert found[BUSY]["expected"] == pytest.approx(20 * 31 * 0.1)
    assert "Unknown key IDs, with their requests: other (1)." in run(capsys, *words)
    assert main(["cost", "--stack", "prod", *words, "--profile", "plan"]) == 2
    assert capsys.readouterr().err == "error: Give a log or a profile, not both.\n"
