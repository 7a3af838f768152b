"""`python -m tools load`: a profile over HTTP, and what came back beside what the limits say."""

import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import RenderableType
from rich.progress import Progress
from rich.text import Text

from settings import Settings, UserError, load_stack, project_root
from throttling import Client, Layer
from throttling.simulation.simulator import simulate
from throttling.simulation.traffic import Source
from tools.cli import Exit, console, format_option, print_json
from tools.traffic.derived import EVERY_LIMIT, pause_seconds
from tools.traffic.load.generator import generate
from tools.traffic.load.judge import Findings, Sample, Verdict, judge
from tools.traffic.load.requests import Requests, make_requests
from tools.traffic.load.target import Target, find_target, is_loopback
from tools.traffic.options import Parsed, traffic_options
from tools.traffic.profiles import Profile, read_profile
from tools.traffic.report import (
    BEST_EFFORT,
    LAYER_NAMES,
    headline,
    lines_of,
    moment,
    outcome_name,
    report,
    result_json,
)

RECORDS: Final = Path("docs", "tested-limits")
_DEFAULT_STACK: Final = "dev"
_WORKERS_PORT: Final = 5557
_LOST_AT_FIRST: Final = 20
"""A run ends when this many requests, and all so far, were not answered."""
_STYLES: Final = {Verdict.AGREES: "green", Verdict.UNCLEAR: "yellow", Verdict.OFF: "bold red"}


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    port = port or str(_WORKERS_PORT)
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise ValueError(f"{text!r} is not an address, such as 0.0.0.0:{_WORKERS_PORT}")
    return host, int(port)


@click.command(
    epilog="Example: python -m tools load --profile burst --profile waf --record. Exit status: 0 "
    "when no limit is off, 1 when one is, 2 when nothing could be said, 130 after Ctrl-C."
)
@click.option(
    "--stack",
    help=f"The stack to load: its sandbox if one runs here, else what Pulumi deployed.  [default: "
    f"the sandbox of {_DEFAULT_STACK}]",
)
@click.option("--deployed", is_flag=True, help="The deployed stack, even if its sandbox runs.")
@click.option("--url", help="Post records there, such as to a custom domain.")
@traffic_options(several=True)
@click.option(
    "--tolerance",
    type=click.FloatRange(0, 1, max_open=True),
    default=0.05,
    show_default=True,
    help="How far off a limit may be, as a share of it. One request is never off.",
)
@click.option("--record", is_flag=True, help=f"Keep the result as JSON in {RECORDS}.")
@click.option("--yes", is_flag=True, help="Do not ask before traffic leaves this machine.")
@click.option(
    "--workers",
    type=click.IntRange(1, 1000),
    help="Wait for this many Locust workers, and let them send.",
)
@click.option(
    "--bind",
    type=Parsed(_address, "address[:port]"),
    default=f"127.0.0.1:{_WORKERS_PORT}",
    show_default=True,
    help="Where workers connect. They get the API keys from there, unencrypted.",
)
@format_option
def load(
    stack: str | None,
    deployed: bool,
    url: str | None,
    profiles: Sequence[str],
    clients: Sequence[Source],
    waf_lag_seconds: float,
    chart: Path | None,
    tolerance: float,
    record: bool,
    yes: bool,
    workers: int | None,
    bind: tuple[str, int],
    output_format: str,
    **traffic_options: Any,  # noqa: ANN401  checked by click
) -> int:
    """Send traffic to an API over HTTP, and compare what comes back with what its limits say.

    Without --profile and --client, every limit is tested at and beyond it.
    """
    settings = load_stack(stack or _DEFAULT_STACK)
    names: Sequence[str | None] = profiles or ([None] if clients else EVERY_LIMIT)
    if len(names) > 1 and (clients or workers):
        raise UserError("--client and --workers go with one --profile.")
    target = find_target(settings, url=url, deployed=deployed, named=stack is not None)
    found = [
        read_profile(
            name, settings, clients=clients, waf_lag_seconds=waf_lag_seconds, **traffic_options
        )
        for name in names
    ]
    runs = [make_requests(profile) for profile in found]
    out = console(stderr=output_format == "json")
    out.print(
        f"Loading {'the sandbox of ' if target.sandbox else ''}stack {settings.stack} at "
        f"{target.url}: {sum(len(one.due) for one in runs):,} requests in about "
        f"{moment(sum(one.seconds for one in runs))}.",
        markup=False,
    )
    machines = 0 if target.sandbox else workers or 1
    if not (is_loopback(target.url) or yes):
        _ask(target.url, _costs(settings, found, machines))
    findings: list[Findings] = []
    reports: list[RenderableType] = []
    interrupted = False
    for requests in runs:
        job = {
            "url": target.url,
            "keys": [client and target.keys.get(client) for client in requests.clients],
            "requests": requests.to_json(own_addresses=target.sandbox),
            "workers": workers or 0,
            "bind": bind,
            # The profile before has emptied some buckets.
            "pause_seconds": pause_seconds(settings.limits()) if findings else 1.0,
        }
        start, samples, interrupted = _send(job, requests)
        if samples:
            findings.append(
                judge(
                    settings.limits(),
                    requests,
                    samples,
                    start,
                    tolerance=tolerance,
                    machines=machines,
                    waf_lag_seconds=waf_lag_seconds,
                )
            )
            reports.append(_report(findings[-1]))
            out.print(reports[-1])
        if interrupted:
            break
    summary = _summary(settings, target, findings, tolerance)
    if interrupted:
        summary.append("Stopped by Ctrl-C: above is what came back until then.")
    for line in lines_of(summary):
        out.print(line)
    document = {
        "stack": settings.stack,
        "target": "sandbox" if target.sandbox else "deployed",
        "url": target.url,
        "tolerance": tolerance,
        "limits": asdict(settings.limits()),
        "summary": summary,
        "profiles": [_as_json(one) for one in findings],
    }
    if chart and findings:
        _draw(chart, findings, reports)
    if record and findings:
        out.print(f"Record: {_save(document)}", markup=False)
    if output_format == "json":
        print_json(document)
    if interrupted:
        return Exit.INTERRUPTED
    verdicts = {row.verdict for one in findings for row in one.rows.values()}
    if target.outdated or any(one.verdict is Verdict.OFF for one in findings):
        return Exit.FINDINGS
    if Verdict.AGREES not in verdicts:
        raise UserError("No limit could be compared: every count is unclear.")
    return Exit.OK


def _send(job: dict[str, Any], requests: Requests) -> tuple[datetime, list[Sample], bool]:
    """Send requests until all are answered, or Ctrl-C.

    Returns:
        When it started, what came back, and whether Ctrl-C ended it.

    Raises:
        UserError: when nothing answers, or Locust fails.
    """
    start, samples = datetime.now(UTC), list[Sample]()
    total = len(requests.due)
    out = console(stderr=True)
    try:
        with (
            Progress(console=out, transient=True, disable=not out.is_terminal) as progress,
            closing(generate(job, requests.seconds)) as news,
        ):
            task = progress.add_task(requests.name, total=total)
            while len(samples) < total:
                said = next(news)
                if "start" in said:
                    start = datetime.fromtimestamp(said["start"], UTC)
                samples += [Sample(*values) for values in said.get("samples", ())]
                progress.update(task, completed=len(samples))
                lost = len(samples) >= min(_LOST_AT_FIRST, total)
                if lost and not any(one.status for one in samples):
                    raise UserError(f"No answer from {job['url']}: {samples[0].message}.")
    except KeyboardInterrupt:
        return start, samples, True
    return start, samples, False


def _ask(url: str, costs: str) -> None:
    """Ask before traffic leaves this machine.

    Raises:
        UserError: when the answer is no, or there is no terminal to ask on.
    """
    click.echo(f"{url} is not on this machine. {costs}", err=True)
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask on. With --yes, the traffic is sent.")
    if not click.confirm("Send it?", err=True):
        raise UserError("Nothing was sent.")


def _costs(settings: Settings, profiles: Sequence[Profile], machines: int) -> str:
    """Return what the traffic uses up, as the simulator sees it."""
    limits, used = settings.limits(), Counter[Client]()
    for profile in profiles:
        duration = settings.expectations().duration_seconds
        for result in simulate(limits, profile.traffic, duration_seconds=duration).clients:
            if result.client:
                used[result.client] += result.admitted
    uses = [
        f"up to {number:,} of {client}'s quota of {quota.limit:,}"
        for client, number in used.items()
        if number and (quota := limits.usage_plans[client.plan].quota)
    ]
    costs = f"It uses {', '.join([*uses, 'and records named load-test-0000 to load-test-0999'])}."
    sent = sum(profile.traffic.expected_requests for profile in profiles) / machines
    if limits.waf and sent > limits.waf.limit:
        costs += (
            f" A machine sends {sent:,.0f} requests from its address, and the web ACL lets "
            f"{limits.waf.limit:,} in {limits.waf.window_seconds} s through."
        )
    return costs


def _report(findings: Findings) -> RenderableType:
    """Return what came back for one profile, to print with rich."""
    cells = {
        key: (
            f"{row.low:,}" if row.low == row.high else f"{row.low:,} to {row.high:,}",
            Text(row.verdict, _STYLES[row.verdict]) if row.verdict else "",
        )
        for key, row in findings.rows.items()
    }
    answers = (f"{number:,} x {answer}" for answer, number in findings.answers.most_common())
    notes = [f"Answers: {', '.join(answers)}."]
    if findings.latency_ms:
        p50, p95, p99 = findings.latency_ms
        notes.append(f"Admitted after p50 {p50:,.0f} ms, p95 {p95:,.0f} ms, p99 {p99:,.0f} ms.")
    if findings.failed:
        notes.append(f"{findings.failed:,} requests passed the limits and failed.")
    if findings.held_up:
        notes.append(f"Held up: {findings.held_up}")
    about = [f"{findings.profile}: {findings.verdict}. {headline(findings.result)}"]
    return report(findings.result, about, notes, ("by the limits", ""), cells)


def _as_json(findings: Findings) -> dict[str, Any]:
    return {
        "profile": findings.profile,
        "verdict": findings.verdict,
        **result_json(findings.result),
        "byTheLimits": [
            {"client": name, "outcome": layer or "admitted", **row._asdict()}
            for (name, layer), row in findings.rows.items()
        ],
        "answers": findings.answers,
        "failed": findings.failed,
        "heldUp": findings.held_up,
        "latencyMs": findings.latency_ms,
    }


def _summary(
    settings: Settings, target: Target, findings: Sequence[Findings], tolerance: float
) -> list[str]:
    """Return what the run found, in a few lines."""
    judged: dict[Verdict, list[str]] = {verdict: [] for verdict in Verdict}
    reached = {layer for one in findings for _, layer in one.rows}
    for one in findings:
        for (name, layer), row in one.rows.items():
            if row.verdict:
                judged[row.verdict].append(f"{outcome_name(layer)} of {name} in {one.profile}")
    off, unclear = judged[Verdict.OFF], judged[Verdict.UNCLEAR]
    count = f"{len(judged[Verdict.AGREES])} counts agree with the limits of {settings.stack}"
    lines = [f"Off by more than {tolerance:.0%}: {'; '.join(off)}." if off else f"{count}."]
    if target.outdated:
        lines.append("The sandbox was deployed with other limits than these. Run make up.")
    if Layer.QUOTA in reached and off:
        lines.append("Requests before this run may have used some of a quota.")
    if unclear:
        lines.append(f"Unclear, because answers took long: {'; '.join(unclear)}.")
    if missing := [name for layer, name in LAYER_NAMES.items() if layer not in reached]:
        lines.append(f"Not reached: {', '.join(missing)}.")
    return lines if target.sandbox else [*lines, BEST_EFFORT]


def _draw(path: Path, findings: Sequence[Findings], reports: Sequence[RenderableType]) -> None:
    """Draw a chart of each profile. Several get their names in the name of the file."""
    # Half a second that only charts need.
    from tools.traffic.chart import draw

    for one, text in zip(findings, reports, strict=True):
        file = path.with_stem(f"{path.stem}-{one.profile}") if len(findings) > 1 else path
        draw(one.result, file, [f"{one.profile}: {one.verdict}. {headline(one.result)}"], text)


def _save(document: Mapping[str, Any]) -> Path:
    """Keep a record, and return where it is.

    Raises:
        UserError: when it cannot be written.
    """
    moment = document["profiles"][0]["start"][:19].replace(":", "")
    path = project_root() / RECORDS / f"{document['stack']}-{document['target']}-{moment}Z.json"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
    return path
