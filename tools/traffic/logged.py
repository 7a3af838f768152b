"""Requests that really happened: fetch a stack's access log, and find out who sent them."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec
import numpy as np
from rich.progress import Progress

from routes import METHODS
from settings import Settings, UserError, project_root
from throttling import Client, Layer, Limits
from throttling.simulation.engine import CODES, Engine
from throttling.simulation.loops import Codes
from throttling.simulation.simulator import Result, run
from throttling.simulation.traffic import Block, Floats, Ints
from tools.aws import LOG_IN, Account, CallError, endpoint_option
from tools.cli import console, format_option
from tools.sandbox.client import running
from tools.traffic.access_log import MAX_SECONDS, NONE, UNREADABLE, AccessLog, read_log
from tools.traffic.load.target import pulumi_outputs
from tools.traffic.options import parsed
from tools.traffic.profiles import parse_duration

PERMISSION: Final = "logs:FilterLogEvents"
_HOUR: Final = 3_600
_LATE_SECONDS: Final = 600
"""Lines of an hour may still come so long after it."""
_BLOCK_REQUESTS: Final = 1_000_000
_MAX_UNKNOWN: Final = 10
_Command = TypeVar("_Command", bound=Callable[..., object])


def log_options(command: _Command) -> _Command:
    """Add the options that say which log to read, and of which stack."""
    for option in (
        format_option,
        endpoint_option,
        click.option(
            "--last",
            "last_seconds",
            default="1d",
            show_default=True,
            callback=parsed(parse_duration),
            metavar="TIME",
            help="How much of the log --from-aws fetches, such as 7d or 12h. It is kept in "
            ".access-log/STACK, and a second run fetches only what is missing.",
        ),
        click.option(
            "--from-aws",
            is_flag=True,
            help=f"Fetch the log of the deployed stack ({PERMISSION}). Changes nothing there.",
        ),
        click.option(
            "--keys",
            "keys_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="JSON with the plan and client of each key ID, as python -m tools keys --format "
            "json prints it.  [default: the outputs of the sandbox or the stack]",
        ),
        click.option("--stack", default="dev", show_default=True, help="The stack of the log."),
        click.argument(
            "paths", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE|FOLDER]..."
        ),
    ):
        command = option(command)
    return command


def limits_of(settings: Settings) -> Limits:
    """Return the limits of a stack that can be replayed."""
    limits = settings.limits()
    # The log has no header, and so not the address that this web ACL counts by.
    return replace(limits, waf=None) if settings.waf.aggregate_by == "FORWARDED_IP" else limits


@dataclass(frozen=True, kw_only=True, slots=True)
class Logged:
    """The requests of a log as the engine takes them, in the order of time."""

    log: AccessLog
    sources: Sequence[tuple[Client | None, str]]
    source: Ints
    """Index of each request's client and method in `sources`."""
    durations: Floats
    """Seconds. Requests that the function did not get have the mean of the others."""
    duration_seconds: float
    """That mean."""
    notes: Sequence[str]

    @property
    def seconds(self) -> float:
        """From the first request until just after the last."""
        return float(self.log.times[-1]) + 0.001

    def decide(self, limits: Limits, waf_lag_seconds: float) -> Codes:
        """Return what happens to the requests under `limits`, as codes of `engine.OUTCOMES`."""
        start = self.log.start.timestamp()
        engine = Engine(limits, self.sources, waf_lag_seconds=waf_lag_seconds, epoch=start)
        log, found = self.log, []
        for part in self._parts():
            arrays = log.times[part], self.source[part], log.address[part], self.durations[part]
            found.append(engine.decide(*arrays))
        return np.concatenate(found)

    def run(self, limits: Limits, waf_lag_seconds: float, came: Codes | None = None) -> Result:
        """Return the same by client and over time; with `came`, what really happened."""
        blocks = (
            Block(
                times=self.log.times[part],
                sources=self.source[part],
                addresses=self.log.address[part],
                durations=self.durations[part],
                outcomes=None if came is None else came[part],
            )
            for part in self._parts()
        )
        return run(
            limits,
            self.sources,
            blocks,
            start=self.log.start,
            seconds=self.seconds,
            duration_seconds=self.duration_seconds,
            waf_lag_seconds=waf_lag_seconds,
        )

    def _parts(self) -> Iterator[slice]:
        for first in range(0, len(self.source), _BLOCK_REQUESTS):
            yield slice(first, first + _BLOCK_REQUESTS)


def read_logged(
    settings: Settings,
    *,
    paths: Sequence[Path],
    keys_file: Path | None,
    from_aws: bool = False,
    last_seconds: float = 0,
    endpoint_url: str | None = None,
) -> Logged:
    """Return the requests of the log that the command line asks for; see `log_options`.

    Raises:
        UserError: when there is none, it cannot be read, or the keys cannot be found out.
    """
    if from_aws == bool(paths):
        raise UserError("Give the files of an access log, or --from-aws.")
    outputs = {} if keys_file and not from_aws else _outputs(settings.stack, deployed=from_aws)
    holders = _holders(_json(keys_file) if keys_file else outputs.get("apiKeyIds"))
    with Progress(console=(out := console(stderr=True)), disable=not out.is_terminal) as bar:
        task = bar.add_task("Reading the log", total=None)
        if from_aws:
            if not (group := outputs.get("accessLogGroup")):
                raise UserError(
                    f"Stack {settings.stack} has no output accessLogGroup. Run pulumi up."
                )
            paths = []
            for file, total in _fetch(settings, group, last_seconds, endpoint_url):
                paths.append(file)
                bar.update(task, completed=len(paths), total=total)
        log = read_log(paths, lambda done, total: bar.update(task, completed=done, total=total))
    return identify(log, settings, holders)


def identify(log: AccessLog, settings: Settings, holders: Mapping[str, Client]) -> Logged:
    """Return the requests of a log with the clients that sent them."""
    notes, keyless = [*log.notes], settings.limits().keyless
    sources = [
        (holders.get(key) if method in METHODS and method not in keyless else None, method)
        for key, method in log.senders
    ]
    source, known = log.sender, np.array([client is not None for client, _ in sources])
    unknown: Counter[str] = Counter()
    sent = np.bincount(source, minlength=len(sources)).tolist()
    for (key, _), number in zip(log.senders, sent, strict=True):
        unknown[key] += 0 if key in holders or key in (NONE, "") else number
    if most := (+unknown).most_common():
        listed = ", ".join(f"{key} ({number:,})" for key, number in most[:_MAX_UNKNOWN])
        more = f" and {len(most) - _MAX_UNKNOWN:,} more" if len(most) > _MAX_UNKNOWN else ""
        notes.append(
            f"Unknown key IDs, with their requests: {listed}{more}. They count as requests without "
            "a valid key. --keys FILE names their clients."
        )
    # The web ACL comes before the API key, so a request that it blocks has no key in the log.
    lost = (log.logged == CODES[Layer.WAF]) & ~known[source]
    if lost.any():
        user = np.full(len(log.addresses), -1)
        user[log.address[known[source]]] = source[known[source]]
        found = lost & (user[log.address] >= 0)
        source = np.where(found, user[log.address], source)
        notes.append(
            f"{np.count_nonzero(lost):,} requests that the web ACL blocked have no key ID. "
            f"{np.count_nonzero(found):,} of them count for the client that last used the address."
        )
    took = ~np.isnan(log.latency)
    expected = settings.expectations().duration_seconds
    mean = float(log.latency[took].mean()) if took.any() else expected
    if settings.waf.aggregate_by == "FORWARDED_IP":
        notes.append(
            "The web ACL counts by a header that the log does not have, so it is left out here."
        )
    return Logged(
        log=log,
        sources=sources,
        source=source,
        durations=np.where(took, log.latency, np.float32(mean)),
        duration_seconds=mean,
        notes=notes,
    )


def _outputs(stack: str, *, deployed: bool) -> Mapping[str, Any]:
    sandbox = None if deployed else running(stack)
    try:
        return sandbox.resources().exports if sandbox else pulumi_outputs(stack)
    except UserError as error:
        hint = "" if deployed else " Or say with --keys FILE who has which key ID."
        raise UserError(f"{error}{hint}") from None


def _json(file: Path) -> Any:  # noqa: ANN401  JSON
    try:
        return msgspec.json.decode(file.read_bytes())
    except (OSError, *UNREADABLE) as error:
        raise UserError(f"--keys {file}: {error}.") from None


def _holders(content: Any) -> dict[str, Client]:  # noqa: ANN401  JSON
    """Return the holders of keys by key ID.

    `content` is what `python -m tools keys --format json` prints, or the stack's output apiKeyIds,
    or plan/client by key ID.
    """
    try:
        if isinstance(content, list):
            content = {key["id"]: key["name"] for key in content}
        elif all(isinstance(keys, dict) for keys in content.values()):
            content = {
                key: f"{plan}/{name}"
                for plan, keys in content.items()
                for name, key in keys.items()
            }
        return {key: Client(*name.split("/")) for key, name in content.items()}
    except (AttributeError, KeyError, TypeError):
        raise UserError(
            'The keys have another form than {"KEY ID": "PLAN/CLIENT"}. python -m tools keys '
            "--format json prints those of a deployed stack."
        ) from None


def _fetch(
    settings: Settings, group: str, last_seconds: float, endpoint_url: str | None
) -> Iterator[tuple[Path, int]]:
    """Fetch a log group's lines. Yield a file for each hour, and how many there will be.

    A file is there only when it is complete, so the next run goes on where this one ended.
    """
    folder = project_root() / ".access-log" / settings.stack
    now = time.time()
    hours = range(int((now - min(last_seconds, MAX_SECONDS)) // _HOUR), int(now // _HOUR) + 1)
    account = Account(settings, endpoint_url)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for hour in hours:
            file = folder / f"{time.strftime('%Y-%m-%dT%H', time.gmtime(hour * _HOUR))}.jsonl"
            if not file.exists() or file.stat().st_mtime < (hour + 1) * _HOUR + _LATE_SECONDS:
                part, token = file.with_suffix(".part"), dict[str, str]()
                with part.open("w", encoding="utf-8") as lines:
                    while True:
                        page = account.ask(
                            PERMISSION,
                            logGroupName=group,
                            startTime=hour * _HOUR * 1000,
                            endTime=(hour + 1) * _HOUR * 1000 - 1,
                            **token,
                        )
                        lines.writelines(one["message"].strip() + "\n" for one in page["events"])
                        if "nextToken" not in page:
                            break
                        token = {"nextToken": page["nextToken"]}
                part.replace(file)
            yield file, len(hours)
    except (CallError, OSError) as error:
        raise UserError(
            f"Could not fetch the access log from AWS: {error}\nIt needs the permission "
            f"{PERMISSION} on {group}. What is fetched is kept in {folder}. {LOG_IN}"
        ) from None
