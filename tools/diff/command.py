"""`python -m tools diff`: what a change does to limits and callers, as Markdown."""

import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from routes import METHODS
from settings import (
    Settings,
    StackConfig,
    UserError,
    parse_settings,
    project_root,
    read_stack,
    stack_names,
)
from settings.paths import value_of
from tools.cli import BEST_EFFORT, code, output_option, print_json
from tools.diff.reach import gone
from tools.diff.report import markdown, stack_diff


@click.command(epilog="Example: python -m tools diff --base origin/main")
@click.option("--base", required=True, metavar="REVISION", help="The revision before the change.")
@click.option("--head", metavar="REVISION", help="The changed revision [default: working tree].")
@output_option("markdown")
def diff(base: str, head: str | None, output_format: str) -> None:
    """Show what a change does to limits and callers, as Markdown.

    For each stack: limits before and after, findings of the review that appear or go, what one
    client may do, and what cannot be undone.
    """
    with _files(base) as old, _files(head) as new:
        before, after = _stacks(base, old), _stacks(head, new)
        both = sorted(before.keys() & after.keys())
        # Under another project's name, all resources are new, which the settings say.
        same = [name for name in both if before[name].project == after[name].project]
        lost, notes = gone(old, new, same)
    compared = [
        stack_diff(name, before.get(name), after.get(name), lost.get(name, ()))
        for name in sorted({*before, *after})
    ]
    stacks = [one for one in compared if one]
    if output_format == "json":
        print_json({"base": base, "head": head, "stacks": stacks, "notes": notes})
        return
    texts = ["No limits changed."]
    if stacks:
        changed = code(head) if head else "the working tree"
        texts = [f"## What changes in the limits from {code(base)} to {changed}"]
        texts += [markdown(one) for one in stacks]
        notes += [BEST_EFFORT]
    click.echo("\n\n".join([*texts, *notes]))


def _stacks(revision: str | None, folder: Path) -> dict[str, Settings]:
    """Return the settings of all stacks of a revision, by name."""
    where = revision or "the working tree"
    names = stack_names(folder) if (folder / "Pulumi.yaml").is_file() else []
    if not names:
        raise UserError(
            f"{where} has no limits to compare: no Pulumi.yaml with a Pulumi.<stack>.yaml there."
        )
    try:
        return {name: parse_settings(_known(read_stack(name, folder))) for name in names}
    except UserError as error:
        raise UserError(f"In {where}: {error}") from None


def _known(config: StackConfig) -> StackConfig:
    """Return a config without throttles of routes that this revision does not have.

    `gone` reports such routes.
    """
    key = f"{config.project}:throttle"
    throttle = value_of(config.values.get(key, ""))
    if not isinstance(throttle, dict) or not isinstance(throttle.get("methods"), dict):
        return config
    methods = {name: one for name, one in throttle["methods"].items() if name in METHODS}
    throttle = json.dumps(throttle | {"methods": methods})
    return replace(config, values={**config.values, key: throttle})


@contextmanager
def _files(revision: str | None) -> Iterator[Path]:
    """Provide a folder with the Pulumi files of a revision."""
    if revision is None:
        yield project_root()
        return
    _git("rev-parse", "--git-dir")
    try:
        _git("rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except UserError:
        fetch = f"git fetch {revision.replace('/', ' ', 1)}" if "/" in revision else "git fetch"
        raise UserError(
            f"There is no revision {revision} here. If a remote has it, `{fetch}` gets it."
        ) from None
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if _git("ls-tree", revision, "./"):
            with tarfile.open(fileobj=BytesIO(_git("archive", revision))) as files:
                regular = [file for file in files if file.isfile()]  # a link may lead anywhere
                files.extractall(folder, regular, filter="data")
        yield folder


def _git(*words: str) -> bytes:
    git = shutil.which("git")
    if git is None:
        raise UserError("Install git: without it, this command cannot read another revision.")
    done = subprocess.run(  # noqa: S603  git, and a revision that it is asked to verify
        [git, "-C", str(project_root()), *words], capture_output=True, check=False
    )
    if done.returncode:
        raise UserError(f"git: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
