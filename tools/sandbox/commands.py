"""`make up`, `make down`, `make status`: the stack on this machine.

python -m sandbox up [--stack dev] [--port 8080] [--dynamodb-endpoint URL]
python -m sandbox down [--stack dev]
python -m sandbox status [--stack dev] [--format table|json]
"""

import argparse
import contextlib
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from settings.files import StackFileError, project_name, read_stack, secret_keys
from tools.sandbox.deployment import API_KEY_HEADER, Deployment, read_deployment
from tools.sandbox.errors import SandboxError
from tools.sandbox.state import Reply, State
from tools.sandbox.table import LOOPBACK, DynamoDB, TableServer

if TYPE_CHECKING:
    from tools.recorder.program import Program

ROOT: Final = Path(__file__).parent.parent
_ITEMS_SHOWN: Final = 5
_STOP_SECONDS: Final = 15.0


def main() -> None:
    """Run one command; what goes wrong is one clear message, and exit status 1."""
    args = _arguments()
    try:
        match args.command:
            case "up":
                up(_console(), args.stack, args.port, args.dynamodb_endpoint)
            case "down":
                down(_console(), args.stack)
            case "status":
                status(_console(), args.stack, as_json=args.format == "json")
    except (SandboxError, StackFileError) as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'The sandbox'}: {error.strerror or error}.")


def _fail(message: str) -> NoReturn:
    _console(stderr=True).print(f"[bold red]error:[/] {escape(message)}")
    sys.exit(1)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="The stack, locally.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("up", help="start the stack, or redeploy it")
    start.add_argument("--stack", default="dev", help="whose config to use (default: dev)")
    start.add_argument("--port", type=int, default=8080, help="of the API (default: 8080)")
    start.add_argument(
        "--dynamodb-endpoint", metavar="URL", help="a DynamoDB API to use instead of moto's"
    )
    stop = commands.add_parser("down", help="stop it, and forget its items")
    stop.add_argument("--stack", help="one stack only (default: all that run)")
    show = commands.add_parser("status", help="show what it holds, and what was refused")
    show.add_argument("--stack", default="dev", help="which stack (default: dev)")
    show.add_argument("--format", choices=["table", "json"], default="table")
    return parser.parse_args()


def _console(*, stderr: bool = False) -> Console:
    """Colour and layout for people; lines that nothing wraps for pipes."""
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = 400
    return console


def up(console: Console, stack: str, port: int, dynamodb_endpoint: str | None) -> None:
    """Start the stack on this machine, or redeploy it with its current config.

    Raises:
        SandboxError: when it cannot; what ran before goes on running.
    """
    state = State(ROOT, stack)
    step = _steps(console, stack)
    with state.lock():
        running = state.ask("status")
        _refuse_port_of_another_stack(port, stack)
        config = read_stack(ROOT, stack)
        launch = [sys.executable, "-m", "tools.sandbox.server", str(ROOT), stack, str(port)]
        lifelines: list[int] = []
        if dynamodb_endpoint:
            launch += ["--endpoint", dynamodb_endpoint]
        elif running and running["tablePort"] and TableServer(running["tablePort"], None).answers():
            launch += ["--table-port", str(running["tablePort"])]
        else:
            # Starts while the program runs; ends with this process unless the server takes it on.
            table = TableServer.launch(state.table_log, state.journal)
            if table.lifeline:
                lifelines.append(table.lifeline.fileno())
                launch += ["--table-lifeline", str(lifelines[0])]
        with step("running the Pulumi program"):
            program, deployment = _deploy(config, state, port)
        with step("starting the function and the table"):
            reply = _start_server(launch, lifelines, state)
    for warning in program.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}")
    keys = program.resources.exports["apiKeys"]
    _show_access(console, reply, deployment, keys, redeployed=running is not None)


def _steps(
    console: Console, stack: str
) -> Callable[[str], contextlib.AbstractContextManager[object]]:
    @contextlib.contextmanager
    def step(what: str) -> Iterator[None]:
        if console.is_terminal:
            with console.status(f"[bold]{stack}[/]: {what} …"):
                yield
        else:
            console.print(f"{stack}: {what} ...")
            yield

    return step


def _refuse_port_of_another_stack(port: int, stack: str) -> None:
    for other in State.all(ROOT):
        if other.stack == stack:
            continue
        reply = other.ask("status")
        if reply and reply["port"] == port:
            raise SandboxError(
                f"Port {port} serves the sandbox of stack {other.stack}. Stop that with "
                f"make down STACK={other.stack}, or choose another port with "
                f"make up STACK={stack} PORT={port + 1}."
            )


def _deploy(config: dict[str, str], state: State, port: int) -> "tuple[Program, Deployment]":
    """Run the program, check that it can be served, and keep what it registered."""
    # Pulumi takes seconds to import, which only a deployment should wait for.
    from tools.recorder.program import ProgramError, run_program

    try:
        program = run_program(
            config,
            project=project_name(ROOT),
            stack=state.stack,
            base_url=f"http://{LOOPBACK}:{port}",
            secret_keys=secret_keys(ROOT, state.stack),
        )
    except ProgramError as error:
        raise SandboxError(str(error)) from None
    deployment = read_deployment(program.resources)
    try:
        program.resources.save(state.resources)
    except OSError as error:
        raise SandboxError(f"{state.resources} cannot be written: {error.strerror}.") from None
    return program, deployment


def _start_server(launch: list[str], lifelines: list[int], state: State) -> Reply:
    """Launch the server, and wait until it serves or says why it cannot."""
    with state.server_log.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  our own module
            launch,
            cwd=ROOT,
            pass_fds=lifelines,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
        )
    assert process.stdout  # noqa: S101  a pipe was asked for
    said: dict[str, Any] = json.loads(process.stdout.readline() or b"{}")
    if "error" in said:
        raise SandboxError(said["error"])
    if "ready" not in said:
        raise SandboxError(f"The server did not start; its log is {state.server_log}.")
    reply: Reply = said["ready"]
    return reply


def _show_access(
    console: Console,
    reply: Reply,
    deployment: Deployment,
    keys: dict[str, dict[str, str]],
    *,
    redeployed: bool,
) -> None:
    """What one needs to call the API."""
    route = next(iter(deployment.routes.values()))
    url = deployment.url + route.path
    did = "redeployed" if redeployed else "up"
    where = f"{route.verb} [bold]{url}[/]"
    console.print(f"\n[bold green]Stack {reply['stack']} is {did}:[/] {where}\n")
    table = Table("plan", "client", "API key", box=None, pad_edge=False, header_style="dim")
    for plan, clients in keys.items():
        for client, value in clients.items():
            table.add_row(plan, client, value)
    console.print(table, no_wrap=True)
    first = next((value for clients in keys.values() for value in clients.values()), None)
    if first and route.example:
        words = ["curl", "-i", url, "-H", "content-type: application/json"]
        words += ["-H", f"{API_KEY_HEADER}: {first}", "-d", json.dumps(route.example)]
        console.print(f"\nTry it:\n\n{escape(shlex.join(words))}\n")
    console.print(f"DynamoDB at {reply['dynamodb']}, table {', '.join(reply['tables'])}")
    for what in reply["notEnforced"]:
        console.print(f"[yellow]not enforced here:[/] {escape(what)}")
    console.print("[dim]make status shows what was refused, make down stops it.[/]")


def down(console: Console, stack: str | None) -> None:
    """Stop what runs, and wait until its processes and its port are gone.

    Raises:
        SandboxError: when a sandbox does not stop.
    """
    stopped = 0
    for state in [State(ROOT, stack)] if stack else State.all(ROOT):
        with state.lock():
            running = state.ask("stop") is not None
            if running and not state.wait_until_gone(_STOP_SECONDS):
                raise SandboxError(
                    f"The sandbox of stack {state.stack} does not stop; its log is "
                    f"{state.server_log}."
                )
            state.journal.unlink(missing_ok=True)
        if running:
            console.print(f"Stack {state.stack} is down.")
            stopped += 1
    if not stopped:
        console.print(f"No sandbox{f' of stack {stack}' if stack else ''} is running.")


def status(console: Console, stack: str, *, as_json: bool) -> None:
    """Show what the sandbox holds, and how it answered.

    Raises:
        SandboxError: when it does not run.
    """
    reply = State(ROOT, stack).ask("status")
    if reply is None:
        raise SandboxError(f"No sandbox of stack {stack} is running. Start it with make up.")
    database = DynamoDB(reply["dynamodb"], reply["region"])
    reply["items"] = {table: database.items(table, _ITEMS_SHOWN) for table in reply["tables"]}
    if as_json:
        sys.stdout.write(json.dumps(reply, indent=2) + "\n")
        return
    console.print(f"Stack [bold]{reply['stack']}[/] at {reply['apiUrl']} (pid {reply['pid']})\n")
    answers = Table("answered by", "of", "status", "requests", box=None, pad_edge=False)
    answers.header_style = "dim"
    for row in reply["answers"]:
        colour = "green" if row["status"] < 400 else "yellow" if row["status"] < 500 else "red"
        answers.add_row(
            row["layer"], row["subject"], f"[{colour}]{row['status']}[/]", f"{row['requests']:,}"
        )
    console.print(answers if reply["answers"] else "No requests yet.")
    clients = Table("plan", "client", "quota left", box=None, pad_edge=False, header_style="dim")
    for row in reply["clients"]:
        left = "no quota" if row["quotaLeft"] is None else f"{row['quotaLeft']:,}"
        clients.add_row(row["plan"], row["client"], left)
    console.print()
    console.print(clients)
    for table, (count, sample) in reply["items"].items():
        console.print(f"\nTable {table}: {count:,} item{'' if count == 1 else 's'}")
        for item in sample:
            console.print(f"  {escape(json.dumps(item, ensure_ascii=False))}")


if __name__ == "__main__":
    main()
