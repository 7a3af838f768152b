"""`python -m operations load`: prove a stack's limits, at and beyond them."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.markup import escape

from operations.errors import OperationsError
from tools.traffic.load.as_deployed import differences
from tools.traffic.load.generator import WORKERS_BIND, generate
from tools.traffic.load.job import make_job
from tools.traffic.load.progress import Watch
from tools.traffic.load.record import record, save
from tools.traffic.load.report import console, report, text_chart
from tools.traffic.load.samples import Outcome, Sample
from tools.traffic.load.scenarios import SCENARIOS, Schedule, plan_schedule, plan_throttle
from tools.traffic.load.target import Target, find_target
from tools.traffic.load.verdicts import DEFAULT_TOLERANCE, Findings, Verdict, exit_status, find
from operations.stacks import stack_settings

_CHARTS: Final = (".png", ".svg")
_DEFAULT_STACK: Final = "dev"
_NOBODY_ANSWERS: Final = 20
"""So many requests without an answer, and none with one, end a run."""
INTERRUPTED: Final = 130


def add_load(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = commands.add_parser(
        "load",
        help="prove the limits under load",
        description="Send what a stack's limits allow, and more, and compare what happens with "
        "what its settings say.",
        epilog="Exit status: 0 when all limits agree, 1 when one is off, 2 when the run could not "
        "be begun or went on no longer, 3 when a limit could not be told, 130 after Ctrl-C. "
        "docs/operate.md has examples, and how several machines send together.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "--stack",
        help="the stack to load: its sandbox if one runs here, else what pulumi deployed "
        f"(default: the sandbox of {_DEFAULT_STACK})",
    )
    parser.add_argument(
        "--deployed", action="store_true", help="the deployed stack, even if its sandbox runs"
    )
    parser.add_argument(
        "--url", help="post records there, such as a custom domain, with the stack's keys"
    )
    parser.add_argument(
        "--scenario",
        nargs="+",
        action="extend",
        choices=SCENARIOS,
        metavar="NAME",
        help=f"what to send: {', '.join(SCENARIOS)} (default: all)",
    )
    parser.add_argument(
        "--tolerance",
        type=_tolerance,
        default=DEFAULT_TOLERANCE,
        metavar="SHARE",
        help="how far off a limit may be, as a share of it; one request more or less is never off "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--record", action="store_true", help="keep a JSON record under docs/tested-limits/"
    )
    parser.add_argument(
        "--chart", type=_chart, metavar="FILE", help="draw the requests over time (.png, .svg)"
    )
    parser.add_argument(
        "--yes", action="store_true", help="do not ask before loading what is not on this machine"
    )
    parser.add_argument(
        "--workers",
        type=_workers,
        default=0,
        metavar="N",
        help="let N Locust workers send instead of this process, and wait for them",
    )
    parser.add_argument(
        "--bind",
        type=_address,
        default=WORKERS_BIND,
        metavar="ADDRESS[:PORT]",
        help="where workers find this process; they get the API keys from it, unencrypted "
        f"(default: {WORKERS_BIND[0]}:{WORKERS_BIND[1]})",
    )


def _tolerance(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text} is no share, such as 0.05 for 5 %")
    return share


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text} is no number from 1 to 1000")
    return int(text)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    port = port or str(WORKERS_BIND[1])
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no address, such as 0.0.0.0:5557")
    return host, int(port)


def _chart(text: str) -> Path:
    path = Path(text)
    if path.suffix not in _CHARTS:
        raise argparse.ArgumentTypeError(f"{text}: allowed are {', '.join(_CHARTS)}")
    if not path.absolute().parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text}: there is no folder {path.parent}")
    return path


def run(args: argparse.Namespace) -> int:
    """Load a target, and say how its limits did."""
    settings = stack_settings(args.stack or _DEFAULT_STACK)
    target = find_target(
        settings,
        url=args.url,
        deployed=args.deployed,
        asked_for=args.stack is not None,
        generators=max(1, args.workers),
    )
    schedule = plan_schedule(target, args.scenario or SCENARIOS)
    out = console()
    out.print(f"Loading [bold]{escape(target.name)}[/]: {escape(intent(schedule))}.")
    guard(target, schedule, yes=args.yes)
    session = _Session(target, schedule, args.tolerance, out)
    interrupted = session.send(args.workers, args.bind)
    return _conclude(session, args, interrupted)


def intent(schedule: Schedule) -> str:
    """What a run is about to do."""
    return (
        f"{schedule.requests:,} requests in {schedule.seconds:,.0f} s, at most "
        f"{schedule.peak_rate:,.0f}/s"
    )


def guard(target: Target, schedule: Schedule, *, yes: bool) -> None:
    """Ask before anything is sent that leaves this machine.

    Raises:
        OperationsError: when the answer is no, or nobody can be asked.
    """
    if target.loopback or yes:
        return
    print(f"That is not on this machine. {cost(target, schedule)}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise OperationsError(
            f"{target.url} is not on this machine, and there is no terminal to ask at. With "
            f"--yes, it is loaded."
        )
    try:
        answer = input("Load it? [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise OperationsError("Nothing was sent.")


def cost(target: Target, schedule: Schedule) -> str:
    """What a run takes from the target's owner: quotas and records."""
    parts = []
    for client in target.keys:
        throttle = plan_throttle(target, client.plan)
        quota = target.limits.usage_plans[client.plan].quota
        mine = [phase for phase in schedule.phases if phase.client == client]
        if not mine or quota is None:
            continue
        most = sum(
            min(phase.count, throttle.burst + throttle.rate * phase.count / phase.rate)
            if throttle
            else phase.count
            for phase in mine
        )
        parts.append(f"up to {most:,.0f} of {client}'s quota of {quota.limit:,}")
    used = f"It uses {', '.join(parts)}, and writes" if parts else "It writes"
    return f"{used} records named load-test-0000 to load-test-0999, and 12."


class _Session:
    """One run: what came back so far, and what was said about it."""

    def __init__(self, target: Target, schedule: Schedule, tolerance: float, out: Console) -> None:
        self.target = target
        self.schedule = schedule
        self.tolerance = tolerance
        self.out = out
        self.started = datetime.now(UTC)
        self.samples: list[Sample] = []
        self.findings: dict[str, Findings] = {}
        self._busy = 0.0

    def send(self, workers: int, bind: tuple[str, int]) -> bool:
        """Send everything; whether Ctrl-C ended it.

        Raises:
            OperationsError: when nobody answers, or the generator fails.
        """
        job = make_job(self.target, self.schedule)
        news = generate(job, self.schedule.seconds, workers=workers, bind=bind)
        try:
            with Watch(console(stderr=True), self.schedule) as watch:
                for latest in news:
                    self._busy = max(self._busy, latest.busy)
                    for sample in latest.samples:
                        self.samples.append(sample)
                        if watch.see(sample):
                            self.show(self.schedule.phases[sample.phase].scenario)
                    self._give_up_if_nobody_answers()
        except KeyboardInterrupt:
            return True
        finally:
            news.close()
        return False

    def _give_up_if_nobody_answers(self) -> None:
        lost = [one for one in self.samples if one.outcome is Outcome.LOST]
        if len(lost) == len(self.samples) and len(lost) >= min(
            _NOBODY_ANSWERS, self.schedule.requests
        ):
            raise OperationsError(f"Nobody answers at {self.target.url}: {lost[0].message}.")

    def show(self, scenario: str) -> None:
        """Judge one scenario, and print it."""
        found = find(
            self.target,
            self.schedule,
            scenario,
            self.samples,
            tolerance=self.tolerance,
            busy=self._busy,
        )
        self.findings[scenario] = found
        unicode = (self.out.encoding or "").startswith("utf")
        chart = text_chart(self.schedule, scenario, self.samples, unicode=unicode)
        self.out.print(report(found, chart))


def _conclude(session: _Session, args: argparse.Namespace, interrupted: bool) -> int:
    """Print what is left, keep what is to be kept, and say how it went."""
    out, target = session.out, session.target
    for scenario in session.schedule.scenarios():
        if scenario not in session.findings:
            session.show(scenario)
    findings = list(session.findings.values())
    if target.deployed_limits is not None:
        differing = differences(target.limits, target.deployed_limits)
        if differing.comparisons:
            out.print(report(differing))
            findings.append(differing)
    out.print()
    if args.chart:
        # Half a second that only charts need.
        from tools.traffic.load.chart import draw

        try:
            draw(target, session.schedule, session.samples, findings, args.chart)
        except OSError as error:
            raise OperationsError(f"--chart {args.chart}: {error.strerror}.") from None
        out.print(f"Chart: {args.chart}", markup=False)
    if args.record:
        document = record(
            target,
            findings,
            tolerance=session.tolerance,
            started=session.started,
            interrupted=interrupted,
        )
        out.print(f"Record: {save(document)}", markup=False)
    _say_verdict(session, findings)
    if interrupted:
        out.print("Stopped by Ctrl-C: above is what was measured until then.")
        return INTERRUPTED
    return exit_status(findings)


def _say_verdict(session: _Session, findings: list[Findings]) -> None:
    out, stack = session.out, session.target.stack
    counted = {
        verdict: [one for f in findings for one in f.comparisons if one.verdict is verdict]
        for verdict in Verdict
    }
    if off := counted[Verdict.OFF]:
        limits = ", ".join(one.limit for one in off)
        out.print(
            f"[bold red]Off by more than {session.tolerance * 100:.3g} % from what stack {stack} "
            f"configures:[/] {escape(limits)}."
        )
    elif unclear := counted[Verdict.UNCLEAR]:
        limits = ", ".join(one.limit for one in unclear)
        out.print(f"[yellow]Could not be told:[/] {escape(limits)}.")
    else:
        agreed, beyond = len(counted[Verdict.AGREES]), len(counted[Verdict.NOT_REACHED])
        rest = f"; {beyond} limits are out of its clients' reach" if beyond else ""
        out.print(
            f"[bold green]All {agreed} comparisons agree[/] with the limits of stack {stack}{rest}."
        )
