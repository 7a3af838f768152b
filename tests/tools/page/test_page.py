"""The page of a sandbox in a real browser, and what its server refuses."""

import json
import re
from collections.abc import Iterator
from typing import Any, Literal
from urllib.parse import quote, urlsplit

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from tests.tools.sandbox.project import Project, keys_in

_RATE = "usagePlans.basic.rateLimit"
_HOSTILE = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="module")
def printed(project: Project) -> str:
    """What `make up` prints."""
    return project.up()


@pytest.fixture(scope="module")
def link(printed: str) -> str:
    """The page's link."""
    found = re.search(r"http://127\.0\.0\.1:\d+/#[\w-]+", printed)
    assert found, printed
    return found[0]


@pytest.fixture
def page(browser: Browser, link: str) -> Iterator[Page]:
    """The page; it may show no error and reach no other host."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda one: faults.append(one.text))
    page.on(
        "request", lambda one: faults.append(one.url) if not _same_host(one.url, link) else None
    )
    page.goto(link)
    expect(page.locator("#findings")).to_contain_text("cost")
    yield page
    context.close()
    assert not faults


def _same_host(url: str, other: str) -> bool:
    return urlsplit(url).scheme == "data" or urlsplit(url).netloc == urlsplit(other).netloc


def _send(page: Page, burst: int, **more: str) -> None:
    """Fill and send the form that makes traffic: a burst."""
    for name, value in {"burst": str(burst), "rate": "0", "seconds": "0", **more}.items():
        page.locator(f"#traffic [name={name}]").fill(value)
    page.locator("#traffic button").first.click()


def _row(page: Page, table: str, name: str) -> Locator:
    return page.locator(f"#{table} tbody tr", has_text=name).first


def _set(page: Page, path: str, value: str) -> None:
    page.get_by_label(path, exact=True).fill(value)


def _ask(link: str, path: str, body: object = None, **headers: str) -> httpx.Response:
    address, _, token = link.partition("/#")
    usual = {"authorization": f"Bearer {token}", "origin": address}
    return httpx.post(f"{address}/page/{path}", json=body, headers=usual | headers, timeout=60)


def test_a_burst_is_seen_with_its_refusals_and_reasons(page: Page) -> None:
    _send(page, 25)
    window = page.locator(".gauge", has_text="rate-per-address, 203.0.113.7")
    expect(window).to_contain_text("25 of 1,500")
    refused = page.locator("#refusals tbody tr").count()
    assert 1 <= refused <= 15, "the bucket holds 10, and refills while the burst lasts"
    expect(_row(page, "legend", "usage plan throttle")).to_contain_text(str(refused))
    first = page.locator("#refusals tbody tr").first
    for text in ("basic/default", "POST /dev/data", "203.0.113.7", "bucket is empty"):
        expect(first).to_contain_text(text)
    bar = window.get_by_role("meter")
    expect(bar).to_have_attribute("aria-valuetext", "25 of 1,500 used")
    quota = page.locator(".card", has_text="basic/default").locator(".gauge", has_text="quota")
    expect(quota).to_contain_text(f"{25 - refused} of 20,000")


def test_a_slider_that_moves_shows_what_the_engine_says(page: Page, link: str) -> None:
    changes = {"changes": ["usagePlans.basic.burstLimit=20"]}
    all_sent = _ask(link, "try", changes).json().get("requests", 0) + 25
    _send(page, 25)
    _set(page, "usagePlans.basic.burstLimit", "20")
    expect(_row(page, "comparison", "admitted").locator(".more")).to_be_visible()
    while (engine := _ask(link, "try", changes).json())["requests"] < all_sent:
        pass
    assert engine["columns"] == ["happened", "in force", "tried"]
    rows = {
        row["outcome"]: row["counts"] for row in engine["rows"] if row["client"] != "all clients"
    }
    assert rows["admitted"][2] > rows["admitted"][1]
    expected = [f"{count:,}" for count in rows["admitted"]]
    for column, count in enumerate(expected, 1):
        cell = _row(page, "comparison", "admitted").locator("td").nth(column)
        expect(cell).to_have_text(count)
    slider = page.get_by_role("slider", name="usagePlans.basic.burstLimit, slider")
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    page.keyboard.press("ArrowRight")
    expect(slider).not_to_have_attribute("aria-valuetext", str(before))
    assert (
        "--path fixture-api:usagePlans.basic.burstLimit" in page.locator("#commands").inner_text()
    )


def test_sliders_have_the_bounds_and_the_words_of_the_schema(page: Page) -> None:
    field = page.get_by_label(_RATE, exact=True)
    assert field.get_attribute("min") == "0.001"
    assert field.get_attribute("max") == "1000000"
    row = page.locator("#settings tr", has_text="plan basic, each client: rate and burst")
    expect(row).to_contain_text(
        "Requests per second over the long run. Allowed: a number from 0.001"
    )
    expect(row).to_contain_text("5/s, 10")
    assert page.locator("#settings tbody tr").count() == 9


def test_contradicting_limits_are_explained_and_cannot_be_applied(page: Page) -> None:
    _set(page, _RATE, "1000")
    expect(page.locator("#problem")).to_contain_text("can never be reached behind the stage's 50")
    expect(page.locator("#apply")).to_be_disabled()
    page.locator("#undo").click()
    expect(page.get_by_label(_RATE, exact=True)).to_have_value("5")
    expect(page.locator("#problem")).to_be_hidden()


def test_the_review_and_the_cost_of_the_tried_limits_stand_beside_them(page: Page) -> None:
    _set(page, _RATE, "15")
    expect(page.locator("#findings .warning")).to_contain_text(
        "new warning: fixture-api:usagePlans"
    )
    expect(page.locator("#findings")).to_contain_text(re.compile(r"at most \$[0-9,]+, as before"))
    _set(page, "function.reservedConcurrency", "1")
    cheaper = re.compile(r"at most \$[0-9,]+; \$[0-9,]+ under the limits in force")
    expect(page.locator("#findings")).to_contain_text(cheaper)


def test_copy_gives_the_command_and_apply_and_undo_change_what_is_enforced(
    project: Project, page: Page, printed: str
) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    file = project.folder / "Pulumi.dev.yaml"
    before = file.read_text()
    _set(page, _RATE, "0.001")
    _set(page, "usagePlans.basic.burstLimit", "1")
    commands = [
        f"pulumi config set --path fixture-api:usagePlans.basic.{setting} --stack dev"
        for setting in ("rateLimit 0.001", "burstLimit 1")
    ]
    expect(page.locator("#commands")).to_have_text("\n".join(commands), use_inner_text=True)
    page.locator("#copy").click()
    expect(page.locator("#change-state")).to_have_text("Copied.")
    pasted = page.locator("#traffic [name=address]")
    pasted.fill("")
    pasted.focus()
    page.keyboard.press("Control+V")
    assert pasted.input_value() == " ".join(commands)  # a field has one line
    page.locator("#apply").click()
    expect(page.locator("#change-state")).to_have_text(re.compile("Applied"))
    expect(page.locator("#settings")).to_contain_text("0.001/s, 1")
    key = keys_in(printed)["basic"]
    assert [project.post(key).status_code for _ in range(2)] == [200, 429]
    status = project.sandbox.status()
    assert status["changes"] == [f"{_RATE}=0.001", "usagePlans.basic.burstLimit=1"]
    items = project.sandbox.items()
    page.locator("#undo").click()
    expect(page.locator("#change-state")).to_contain_text("file are in force")
    assert [project.post(key).status_code for _ in range(2)] == [200, 200]
    assert project.sandbox.items() == items
    assert file.read_text() == before


def test_text_from_callers_stays_text(project: Project, page: Page, printed: str) -> None:
    path = f"/dev/{quote(_HOSTILE)}?{quote(_HOSTILE)}"
    for key in (keys_in(printed)["basic"], _HOSTILE):
        headers = {"x-forwarded-for": _HOSTILE, "user-agent": _HOSTILE, "x-api-key": key}
        httpx.get(f"http://127.0.0.1:{project.port}{path}", headers=headers)
    project.post(keys_in(printed)["basic"], {"id": _HOSTILE, "title": _HOSTILE, "year": "1"})
    expect(page.locator("#refusals")).to_contain_text(f"GET /dev/{quote(_HOSTILE)}")
    assert page.locator("img").count() == 0


def test_no_text_of_the_news_becomes_markup(browser: Browser, link: str) -> None:
    """A server would have to be fooled first: it refuses such names."""
    texts: dict[str, Any] = {
        "name": _HOSTILE,
        "url": _HOSTILE,
        "problem": _HOSTILE,
        "changes": {},
        "file": {},
    }
    row: dict[str, Any] = {"time": 0, "client": _HOSTILE, "request": _HOSTILE, "address": _HOSTILE}
    row |= {"layer": "waf", "subject": _HOSTILE, "status": 429}
    setting: dict[str, Any] = dict.fromkeys(("path", "description"), _HOSTILE)
    setting |= {"value": 1, "least": 1, "most": 9, "whole": True, "optional": True}
    texts |= {"outcomes": {"waf": _HOSTILE}, "reasons": {"waf": _HOSTILE}, "clients": [_HOSTILE]}
    texts |= {"limits": [{"limit": _HOSTILE, "value": _HOSTILE, "settings": [setting]}]}
    gauge = {"of": _HOSTILE, "what": _HOSTILE, "used": 1, "most": 2}
    news = {"now": 1, "seconds": {}, "gauges": [gauge], "refusals": [row], "stack": texts}
    page = browser.new_page()
    page.route("**/page/news", lambda one: one.fulfill(body=f"data: {json.dumps(news)}\n\n"))
    trial = {"problem": _HOSTILE, "commands": [_HOSTILE]}
    page.route("**/page/try", lambda one: one.fulfill(json=trial))
    page.goto(link)
    expect(page.locator("#problem")).to_have_text(_HOSTILE)
    for place in ("#refusals", "#gauges", "#settings", "#about", "#title", "#traffic"):
        expect(page.locator(place)).to_contain_text(_HOSTILE)
    assert page.locator("img").count() == 0
    page.close()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1440)])
def test_axe_finds_nothing_serious_and_nothing_overflows(
    browser: Browser, link: str, scheme: Literal["light", "dark"], width: int
) -> None:
    # Scripts of axe are none of the page's.
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(link)
    expect(page.locator("#findings")).to_contain_text("cost")
    _set(page, _RATE, "15")
    _send(page, 20)
    expect(page.locator("#findings .warning")).to_be_visible()
    assert [one["id"] for one in _violations(page)] == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def _violations(page: Page) -> list[Any]:
    found = Axe().run(page).response["violations"]
    return [one for one in found if one["impact"] in ("serious", "critical")]


def test_the_link_is_not_kept_and_shows_no_api_key(page: Page, printed: str, link: str) -> None:
    assert page.url == link.partition("#")[0]
    content = page.content()
    assert link.partition("#")[2] not in content
    assert not any(key in content for key in keys_in(printed).values())


def test_without_its_token_the_page_says_which_link_to_open(browser: Browser, link: str) -> None:
    page = browser.new_page()
    page.goto(link.partition("#")[0])
    expect(page.locator("#state")).to_contain_text("Open the link that make up printed")
    page.close()


def test_only_the_page_itself_may_ask(link: str) -> None:
    body: dict[str, list[str]] = {"changes": []}
    evil = "http://evil.example"
    rebound = {"host": "evil.example", "origin": evil}  # its name leads to this machine
    for headers in (rebound, {"host": "[::"}, {"origin": evil}, {"origin": "null"}):
        assert _ask(link, "try", body, **headers).status_code == 403
    assert _ask(link, "try", body, authorization="Bearer wrong").status_code == 401
    address, _, token = link.partition("/#")
    for path in ("status", "items", "resources"):  # the page's token opens nothing else
        answer = httpx.get(f"{address}/{path}", headers={"authorization": f"Bearer {token}"})
        assert answer.status_code == 401
    answer = httpx.get(address)
    assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"rate": 501}, "rate: "),
        ({"burst": 1001}, "burst: "),
        ({"seconds": 61}, "seconds: "),
        ({"address": "example.com"}, "address: "),
        ({"client": "basic/nosuch"}, "There is no client 'basic/nosuch'."),
        ({"url": "http://example.com"}, "url: "),
    ],
)
def test_traffic_is_bounded(link: str, change: dict[str, object], problem: str) -> None:
    usual = {"client": "no-key", "rate": 1, "burst": 1, "seconds": 1, "address": "203.0.113.7"}
    answer = _ask(link, "traffic", usual | change)
    assert answer.status_code == 422
    assert answer.json()["message"].startswith(problem)


def test_news_are_server_sent_events(link: str) -> None:
    address, _, token = link.partition("/#")
    headers = {"authorization": f"Bearer {token}"}
    with httpx.stream("GET", f"{address}/page/news", headers=headers, timeout=30) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        lines = filter(None, answer.iter_lines())
        first, second = (json.loads(next(lines).removeprefix("data: ")) for _ in range(2))
    assert first["stack"]["name"] == "dev"
    assert "stack" not in second
    assert second["now"] > first["now"]
