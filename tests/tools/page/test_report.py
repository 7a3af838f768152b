"""The result of a simulation or a replay as one file, opened without a server or a network."""

import json
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from settings import UserError
from tests.stacks import ROOT, settings
from throttling import Client
from throttling.simulation.simulator import simulate
from throttling.simulation.traffic import Arrivals, Phase, Source, Traffic
from tools.__main__ import main
from tools.page.report import write_report

_HOSTILE = "</script><img src=x onerror=document.title='owned'><!--<script>"


def test_a_simulation_as_a_page_has_what_the_command_prints(
    browser: Browser,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "out.html"
    command = [
        "simulate",
        "--client",
        "basic/default=20rps,for=10s",
        "--client",
        "no-key=1rps,for=10s",
    ]
    command += ["--arrivals", "even", "--set", "usagePlans.basic.rateLimit=10", "--compare"]
    assert main([*command, "--page", str(file), "--format", "json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: asked.append(message.text))
    page.goto(file.as_uri())
    expect(page.locator("#title")).to_have_text("Simulation of stack dev")
    expect(page.locator("#about")).to_contain_text(printed["after"]["simulation"]["headline"])
    rows = page.locator("#comparison tbody tr").all_inner_texts()
    client = (printed[when]["simulation"]["clients"][0] for when in ("before", "after"))
    before, after = (one["admitted"] for one in client)
    assert rows[1].split() == ["admitted", str(before), str(after), f"+{after - before}"]
    legend = page.locator("#legend tbody tr").first
    expect(legend).to_contain_text(f"{after}")
    page.get_by_label("before").check()
    expect(legend).to_contain_text(f"{before}")
    page.get_by_role("combobox", name="Client").select_option("no-key")
    expect(page.locator("#legend")).to_contain_text("refused: API key")
    expect(page.locator("#settings")).to_contain_text("10/s, 10")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert asked == [file.as_uri()]
    context.close()


def test_names_cannot_break_out_of_the_file_and_axe_finds_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    phase = Phase(start_seconds=0, seconds=2, from_rps=5, to_rps=5)
    client = Client("basic", _HOSTILE)
    source = Source(client=client, method="POST /data", addresses=1, phases=(phase,))
    traffic = Traffic(sources=(source,), arrivals=Arrivals.EVEN)
    stack = settings("dev")
    result = simulate(stack.limits(), traffic, duration_seconds=0.1)
    file = tmp_path / "out.html"
    write_report(file, _HOSTILE, [_HOSTILE], [_HOSTILE], stack, {_HOSTILE: result})
    for policy_off in (False, True):  # a policy stops the scripts of axe
        context = browser.new_context(bypass_csp=policy_off)
        page = context.new_page()
        page.goto(file.as_uri())
        for place in ("#title", "#about", "#notes", "#comparison"):
            expect(page.locator(place)).to_contain_text(_HOSTILE)
        assert page.locator("img").count() == 0
        assert page.title() == _HOSTILE
        if policy_off:
            found = Axe().run(page).response["violations"]
            assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []
        context.close()


def test_a_page_that_cannot_be_written_is_refused_before_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    for path, problem in (("/nonexistent/out.html", "No such file"), ("out.txt", "is not a page")):
        assert main(["simulate", "--profile", "seed", "--page", path]) == 2
        assert problem in capsys.readouterr().err


def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = simulate(settings("dev").limits(), Traffic(sources=()), duration_seconds=0.1)
    with pytest.raises(UserError, match="--page"):
        write_report(tmp_path, "", [], [], settings("dev"), {"simulated": result})
