"""`python -m tools load`: a profile over HTTP, and what came back beside what the limits say."""

import json
import re
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import click
from rich.progress import Progress

from settings import UserError, load_stack, project_root
from throttling.simulation.traffic import Source
from tools.cli import Exit, console, format_option, print_json
from tools.traffic.derived import EVERY_LIMIT, pause_seconds
from tools.traffic.load.judge import Findings, Sample, Verdict, judge
from tools.traffic.load.report import findings_json, findings_report, summary, title
from tools.traffic.load.requests import job, make_requests
from tools.traffic.load.sender import send
from tools.traffic.load.target import find_target, is_loopback
from tools.traffic.options import check_writable, parsed, traffic_options
from tools.traffic.profiles import Profile, read_profile
from tools.traffic.report import BEST_EFFORT, moment

RECORDS: Final = Path("docs", "tested-limits")
_DEFAULT_STACK: Final = "dev"
_WORKERS_PORT: Final = 5557
_AWS_WAF_LAG_SECONDS: Final = 30.0
"""https://docs.aws.amazon.com/waf/latest/developerguide/waf-rule-statement-type-rate-based-request-limiting.html"""
_LOST_AT_FIRST: Final = 20
"""A run ends when this many requests, and all so far, were not answered."""


def _address(text: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{text}")
        if parts.hostname and parts.netloc == text and parts.port != 0:
            return parts.hostname, parts.port or _WORKERS_PORT
    except ValueError:
        pass
    raise ValueError(f"{text!r} is not an address, such as 0.0.0.0:{_WORKERS_PORT}")


def _tolerance(text: str) -> float:
    if not re.fullmatch(r"0(\.[0-9]+)?", text):
        raise ValueError(f"{text!r} is not a share from 0 to below 1, such as 0.05")
    return float(text)


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
    callback=parsed(_tolerance),
    metavar="SHARE",
    default="0.05",
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
        read_profile(name, settings, clients=clients, waf_lag_seconds=lag, **traffic_options)
        for name in names
    ]
    requests = [make_requests(profile) for profile in runs]
    charts = _chart_paths(chart, [profile.name for profile in runs]) if chart else {}
    kind = "sandbox" if target.sandbox else "deployed"
    now = f"{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    kept = project_root() / RECORDS / f"{settings.stack}-{kind}-{now}.json"
    if record:
        with suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
        check_writable(kept)
    out = console(stderr=output_format == "json")
    out.print(
        f"Loading {'the sandbox of ' if target.sandbox else ''}stack {settings.stack} at "
        f"{target.url}: {sum(len(one.times) for one in requests):,} requests in about "
        f"{moment(sum(profile.traffic.seconds for profile in runs))}.",
        markup=False,
    )
    if not (is_loopback(target.url) or yes):
        _ask(target.url)
    settled = {"pause_seconds": pause_seconds(limits), "workers": workers or 0, "bind": bind}
    findings, interrupted = list[Findings](), False
    for profile, own in zip(runs, requests, strict=True):
        start, samples, interrupted = _send(job(profile, own, target) | settled, profile)
        if samples:
            found = judge(
                limits,
                profile,
                own,
                samples,
                start,
                tolerance=tolerance,
                machines=0 if target.sandbox else workers or 1,
                waf_lag_seconds=lag,
            )
            findings.append(found)
            out.print(findings_report(found))
        if interrupted:
            break
    lines = summary(findings)
    if target.outdated:
        lines.append("The sandbox was deployed with other limits than these. Run make up.")
    if not target.sandbox:
        lines.append(BEST_EFFORT)
    if interrupted:
        lines.append("Stopped by Ctrl-C.")
    for line in lines:
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
    if interrupted:
        return Exit.INTERRUPTED
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
    start, samples, total = datetime.now(UTC), list[Sample](), len(job["due"])
    out = console(stderr=True)
    try:
        with (
            Progress(console=out, transient=True, disable=not out.is_terminal) as progress,
            closing(send(job)) as reports,
        ):
            task = progress.add_task(profile.name, total=total)
            while len(samples) < total:
                report = next(reports)
                if report["start"]:
                    start = datetime.fromtimestamp(report["start"], UTC)
                samples += [Sample(*values) for values in report["samples"]]
                progress.update(task, completed=len(samples))
                silent = len(samples) >= min(_LOST_AT_FIRST, total)
                if silent and not any(one.status for one in samples):
                    url = job["calls"][0][1]
                    raise UserError(f"No answer from {url}: {samples[0].message}.")
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
        check_writable(one)
    return paths
