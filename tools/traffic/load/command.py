"""`python -m tools load`: a profile over HTTP, and what came back beside what the limits say."""

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.progress import Progress

from settings import UserError, load_stack, project_root
from throttling.simulation.traffic import Source
from tools.cli import Exit, console, format_option, print_json
from tools.traffic.derived import EVERY_LIMIT, pause_seconds
from tools.traffic.load.generator import generate
from tools.traffic.load.judge import Findings, Sample, Verdict, judge
from tools.traffic.load.report import findings_json, findings_report, summary, title
from tools.traffic.load.requests import make_requests
from tools.traffic.load.target import Target, find_target, is_loopback
from tools.traffic.options import check_writable, parsed, traffic_options
from tools.traffic.profiles import Profile, read_profile
from tools.traffic.report import moment

RECORDS: Final = Path("docs", "tested-limits")
_DEFAULT_STACK: Final = "dev"
_TIME: Final = "%Y-%m-%dT%H%M%SZ"
_WORKERS_PORT: Final = 5557
_AWS_WAF_LAG_SECONDS: Final = 30.0
"""https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-request-limiting.html"""
_LOST_AT_FIRST: Final = 20
"""A run ends when this many requests, and all so far, were not answered."""


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
    callback=parsed(_address),
    metavar="ADDRESS[:PORT]",
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
    waf_lag_seconds: float | None,
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
    limits = settings.limits()
    names: Sequence[str | None] = profiles or ([None] if clients else EVERY_LIMIT)
    if len(names) > 1 and (clients or workers):
        raise UserError("--client and --workers go with one --profile.")
    target = find_target(settings, url=url, deployed=deployed, named=stack is not None)
    lag = waf_lag_seconds
    if lag is None:
        lag = 0.0 if target.sandbox else _AWS_WAF_LAG_SECONDS
    runs = [
        make_requests(
            read_profile(name, settings, clients=clients, waf_lag_seconds=lag, **traffic_options)
        )
        for name in names
    ]
    charts = _chart_paths(chart, [one.profile.name for one in runs]) if chart else {}
    kind = "sandbox" if target.sandbox else "deployed"
    kept = project_root() / RECORDS / f"{settings.stack}-{kind}-{datetime.now(UTC):{_TIME}}.json"
    if record:
        _check_writable(kept)
    out = console(stderr=output_format == "json")
    out.print(
        f"Loading {'the sandbox of ' if target.sandbox else ''}stack {settings.stack} at "
        f"{target.url}: {sum(len(one.due) for one in runs):,} requests in about "
        f"{moment(sum(one.profile.traffic.seconds for one in runs))}.",
        markup=False,
    )
    if not (is_loopback(target.url) or yes):
        _ask(target.url)
    judged = partial(
        judge,
        limits,
        tolerance=tolerance,
        machines=0 if target.sandbox else workers or 1,
        waf_lag_seconds=lag,
    )
    settled = {"pause_seconds": pause_seconds(limits), "workers": workers or 0, "bind": bind}
    findings, interrupted = list[Findings](), False
    for requests in runs:
        job = requests.job(target) | settled
        start, samples, interrupted = _send(job, requests.profile)
        if samples:
            findings.append(judged(requests, samples, start))
            out.print(findings_report(findings[-1]))
        if interrupted:
            break
    lines = summary(limits, target, findings)
    for line in [*lines, *(["Stopped by Ctrl-C."] if interrupted else [])]:
        out.print(line, markup=False)
    document = {
        "stack": settings.stack,
        "target": kind,
        "url": target.url,
        "interrupted": interrupted,
        "tolerance": tolerance,
        "limits": asdict(limits),
        "summary": lines,
        "profiles": [findings_json(one) for one in findings],
    }
    if charts:
        # Half a second that only charts need.
        from tools.traffic.chart import draw

        for one in findings:
            draw(one.result, charts[one.profile], [title(one)])
    if record:
        kept.write_text(json.dumps(document, indent=2) + "\n", "utf-8")
        out.print(f"Record: {kept}", markup=False)
    if output_format == "json":
        print_json(document)
    return Exit.INTERRUPTED if interrupted else _status(target, findings)


def _status(target: Target, findings: Sequence[Findings]) -> Exit:
    """Return whether a limit is off.

    Raises:
        UserError: when no count could be compared.
    """
    if target.outdated or any(one.verdict is Verdict.OFF for one in findings):
        return Exit.FINDINGS
    if not any(row.verdict is Verdict.AGREES for one in findings for row in one.rows.values()):
        raise UserError("No limit could be compared: every count is unclear.")
    return Exit.OK


def _send(job: dict[str, Any], profile: Profile) -> tuple[datetime, list[Sample], bool]:
    """Send requests, and return when that began, what came back, and whether Ctrl-C ended it.

    Raises:
        UserError: when nothing answers, or Locust fails.
    """
    start, samples, total = datetime.now(UTC), list[Sample](), len(job["requests"])
    out = console(stderr=True)
    try:
        with (
            Progress(console=out, transient=True, disable=not out.is_terminal) as progress,
            closing(generate(job, profile.traffic.seconds)) as news,
        ):
            task = progress.add_task(profile.name, total=total)
            while len(samples) < total:
                said = next(news)
                if said.get("start"):
                    start = datetime.fromtimestamp(said["start"], UTC)
                samples += [Sample(*values) for values in said.get("samples", ())]
                progress.update(task, completed=len(samples))
                silent = len(samples) >= min(_LOST_AT_FIRST, total)
                if silent and not any(one.status for one in samples):
                    raise UserError(f"No answer from {job['url']}: {samples[0].message}.")
    except KeyboardInterrupt:
        return start, samples, True
    return start, samples, False


def _ask(url: str) -> None:
    """Ask before traffic leaves this machine.

    Raises:
        UserError: when the answer is no, or there is no terminal to ask on.
    """
    click.echo(
        f"{url} is not on this machine. What it admits is paid for, counts against the clients' "
        "quotas, and overwrites the records load-test-0000 to load-test-0999.",
        err=True,
    )
    if not sys.stdin.isatty():
        raise UserError("There is no terminal to ask on. With --yes, the traffic is sent.")
    if not click.confirm("Send it?", err=True):
        raise UserError("Nothing was sent.")


def _chart_paths(path: Path, profiles: Sequence[str]) -> dict[str, Path]:
    """Return where to draw each profile. Several get their names in the name of the file.

    Raises:
        UserError: when one cannot be written there.
    """
    if len(profiles) == 1:
        return {profiles[0]: path}
    paths = {name: path.with_stem(f"{path.stem}-{name}") for name in profiles}
    if len(paths) < len(profiles):
        raise UserError("--chart needs another name for each profile: one chart would be lost.")
    for one in paths.values():
        _check_writable(one)
    return paths


def _check_writable(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        check_writable(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}.") from None
