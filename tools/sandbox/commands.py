"""`make up`, `make down`, `make status`: a stack on this machine."""

import contextlib
import fcntl
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from settings import UserError, changed, project_root, read_stack
from tools.cli import console, format_option, is_url, print_json, set_option
from tools.recorder.resources import Resources
from tools.sandbox.client import FOLDER, KEEP, LOOPBACK, Sandbox, running, stack_folder
from tools.sandbox.deployment import API_KEY_HEADER, read_deployment
from tools.sandbox.web_acl import address_header

CODE: Final = Path(__file__).parents[2]


def _check_url(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if not value or is_url(value):
        return value
    raise click.BadParameter(f"{value} is not a URL such as http://localhost:8000")


@click.command(epilog="Example: python -m tools up --stack dev --port 8080")
@click.option("--stack", default="dev", show_default=True, help="The stack whose config to use.")
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8080,
    show_default=True,
    help="Port of the API.",
)
@click.option(
    "--dynamodb-endpoint",
    metavar="URL",
    callback=_check_url,
    help="A DynamoDB API to use instead of moto's.",
)
@set_option
def up(stack: str, port: int, dynamodb_endpoint: str | None, changes: Sequence[str]) -> None:
    """Run a stack on this machine, or redeploy it with its current config and code.

    A redeploy keeps the items: tools/sandbox/table.py writes them to a file.
    """
    # Slow to import.
    from tools.recorder.program import run_program

    out = console()
    root = project_root()
    config = changed(read_stack(stack, root), changes)
    folder = stack_folder(root, stack)
    with _locked(root), contextlib.ExitStack() as cleanup:
        found = running(stack, root)
        # The server starts while the program runs.
        sandbox = found or cleanup.enter_context(_launched(folder))
        with _step(out, f"{stack}: running the Pulumi program"):
            program = run_program(config, base_url=f"http://{LOOPBACK}:{port}")
        with _step(out, f"{stack}: starting the function and the table"):
            status = sandbox.deploy(
                program.resources, port=port, dynamodb=dynamodb_endpoint, changes=changes
            )
    for warning in program.warnings:
        out.print(f"[yellow]warning:[/] {escape(warning)}")
    _show_access(out, status, program.resources, redeployed=found is not None)


@contextlib.contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep other commands from changing a sandbox of the project meanwhile.

    Raises:
        UserError: another command is changing one, or a file cannot be used.
    """
    folder = root / FOLDER
    with contextlib.ExitStack() as cleanup:
        try:
            folder.mkdir(exist_ok=True)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            cleanup.callback(os.close, descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise UserError("Another command is changing a sandbox here; wait for it.") from None
        except OSError as error:
            raise UserError(f"{error.filename} cannot be used: {error.strerror}.") from None


@contextlib.contextmanager
def _launched(folder: Path) -> Iterator[Sandbox]:
    """Start a server. If the block fails, stop it.

    Raises:
        UserError: it does not start.
    """
    folder.mkdir(exist_ok=True)
    log = folder / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603  our own module
            [sys.executable, "-m", "tools.sandbox.server", str(folder)],
            cwd=CODE,
            # Nothing of the user's shell, such as PYTHONWARNINGS, AWS_PROFILE or HTTP_PROXY.
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            start_new_session=True,
        )
    assert process.stdin  # noqa: S101  pipes were asked for
    assert process.stdout  # noqa: S101
    try:
        address = process.stdout.readline()
        if not address:
            raise UserError(f"The server did not start. Its log is {log}.")
        yield Sandbox(folder=folder, **json.loads(address))
        process.stdin.write(KEEP)
        process.stdin.close()
    except BaseException:
        process.stdin.close()
        process.wait()
        raise


@contextlib.contextmanager
def _step(out: Console, doing: str) -> Iterator[None]:
    """Show what is being done."""
    if out.is_terminal:
        with out.status(f"{doing} …"):
            yield
    else:
        out.print(f"{doing} ...")
        yield


def _show_access(
    out: Console, status: dict[str, Any], resources: Resources, *, redeployed: bool
) -> None:
    """Print what a caller needs."""
    deployment = read_deployment(resources)
    route = next(iter(deployment.routes.values()))
    url = deployment.url + route.path
    did = "redeployed" if redeployed else "up"
    out.print(f"\n[bold green]Stack {status['stack']} is {did}:[/] {route.verb} [bold]{url}[/]\n")
    keys = [
        (plan, client, value)
        for plan, clients in resources.exports["apiKeys"].items()
        for client, value in clients.items()
    ]
    table = _table("plan", "client", "API key")
    for row in keys:
        table.add_row(*row)
    out.print(table, no_wrap=True)
    if keys and route.example:
        words = ["curl", "-i", url, "-H", "content-type: application/json"]
        if header := address_header(deployment.web_acl):  # without it, the request is blocked
            words += ["-H", f"{header}: 192.0.2.1"]
        words += ["-H", f"{API_KEY_HEADER}: {keys[0][2]}", "-d", json.dumps(route.example)]
        out.print(f"\nTry it:\n\n{escape(shlex.join(words))}\n")
    out.print(f"DynamoDB at {status['dynamodb']}, table {', '.join(status['tables'])}")
    for what in status["notEnforced"]:
        out.print(f"[yellow]not enforced here:[/] {escape(what)}")
    if status["changes"]:
        out.print(
            f"[yellow]Only here, until the next make up:[/] {escape(', '.join(status['changes']))}"
        )
    out.print(f"\nWatch it, and try other limits: [bold]{status['page']}[/]")
    out.print("[dim]make status shows what was refused, make down stops it.[/]")


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False, header_style="dim")


@click.command(epilog="Example: python -m tools down --stack dev")
@click.option("--stack", help="One stack only. By default, all that run.")
def down(stack: str | None) -> None:
    """Stop what runs on this machine, and delete its items."""
    out = console()
    root = project_root()
    stopped = 0
    failures = []
    with _locked(root):
        paths = (root / FOLDER).glob("*")
        found = (path for path in paths if path.is_dir() and not path.is_symlink())
        for folder in sorted(found) if stack is None else [stack_folder(root, stack)]:
            try:
                if sandbox := running(folder.name, root):
                    sandbox.stop()
                    out.print(f"Stack {folder.name} is down.")
                    stopped += 1
                if folder.exists():
                    shutil.rmtree(folder)
            except UserError as error:
                failures.append(str(error))
            except OSError as error:
                failures.append(f"{folder} cannot be deleted: {error.strerror}.")
    if failures:
        raise UserError("\n".join(failures))
    if not stopped:
        out.print(f"No sandbox{f' of stack {stack}' if stack else ''} is running.")


@click.command(epilog="Example: python -m tools status --stack dev --format json")
@click.option("--stack", default="dev", show_default=True, help="The stack to show.")
@format_option
def status(stack: str, output_format: str) -> None:
    """Show what the sandbox holds, and how each layer answered."""
    root = project_root()
    sandbox = running(stack, root)
    if sandbox is None:
        read_stack(stack, root)  # says which stacks there are
        raise UserError(f"No sandbox of stack {stack} is running. Start it with make up.")
    found = sandbox.status() | {"items": sandbox.items()}
    if output_format == "json":
        print_json(found)
        return
    out = console()
    out.print(f"Stack [bold]{found['stack']}[/] at {found['apiUrl']} (pid {found['pid']})")
    out.print(f"Its page: {found['page']}\n")
    answers = _table("answered by", "of", "status", "requests")
    for row in found["answers"]:
        colour = "green" if row["status"] < 400 else "yellow" if row["status"] < 500 else "red"
        answers.add_row(
            row["layer"], row["subject"], f"[{colour}]{row['status']}[/]", f"{row['requests']:,}"
        )
    out.print(answers if found["answers"] else "No requests yet.")
    for rule, count in found["counted"].items():
        out.print(f"Rule {escape(rule)} of the web ACL only counts: {count:,} requests")
    for row in found["refusedCalls"]:
        out.print(f"[red]{row['calls']:,} calls of DynamoDB refused:[/] {escape(row['reason'])}")
    clients = _table("plan", "client", "quota left")
    for row in found["clients"]:
        left = "no quota" if row["quotaLeft"] is None else f"{row['quotaLeft']:,}"
        clients.add_row(row["plan"], row["client"], left)
    out.print()
    out.print(clients)
    for name, held in found["items"].items():
        out.print(f"\nTable {name}: {held['count']:,} item{'' if held['count'] == 1 else 's'}")
        for item in held["sample"]:
            out.print(f"  {escape(json.dumps(item))}")
