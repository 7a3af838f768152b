"""`python -m throttling diff`: what a pull request does to the limits, as Markdown."""

import argparse
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tools.review import command
from settings.stacks import ROOT, Stack, StackError, all_stacks, load_stack
from tools.diff import Foundations, State, stack_diff
from throttling.review import Finding
from throttling.simulation.traffic import METHOD

_WORKING_TREE: Final = "the working tree"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What may be typed after `diff`."""
    parser.set_defaults(run=run)
    parser.add_argument(
        "--base", required=True, metavar="REVISION", help="what to compare with: origin/main"
    )
    parser.add_argument(
        "--head", metavar="REVISION", help="what has changed (default: the working tree)"
    )


def run(args: argparse.Namespace) -> int:
    """Print what changes."""
    print(report(args.base, args.head, ROOT))
    return 0


def report(base: str, head: str | None = None, root: Path = ROOT) -> str:
    """What changes between two revisions, as Markdown.

    Args:
        base: the revision to compare with.
        head: the revision that has changed; None for the working tree.
        root: the project's folder.

    Raises:
        StackError: when a revision does not exist, or has no limits that can be read.
    """
    before, after = _states(root, base), _states(root, head)
    sections = [
        section
        for name in sorted({*before, *after})
        if (section := _section(name, before.get(name), after.get(name)))
    ]
    if not sections:
        return "No limits changed."
    title = f"## What changes in the limits from {base} to {head or _WORKING_TREE}"
    footer = (
        "AWS applies throttles and quotas on a best-effort basis: they are targets, not ceilings."
    )
    return "\n\n".join([title, *sections, footer])


_Told = tuple[Stack, State]


def _section(name: str, before: _Told | None, after: _Told | None) -> str | None:
    def fix(finding: Finding) -> str:
        return command(after[0], finding) if after else ""

    return stack_diff(name, before[1] if before else None, after[1] if after else None, METHOD, fix)


def _states(root: Path, revision: str | None) -> dict[str, _Told]:
    """All stacks that a revision has a config for, by name."""
    where = revision or _WORKING_TREE
    with _config(root, revision) as folder:
        names = all_stacks(folder)
        if not names or not (folder / "Pulumi.yaml").is_file():
            raise StackError(
                f"{where} has no limits to compare: no "
                f"{'Pulumi.<stack>.yaml' if not names else 'Pulumi.yaml'} there."
            )
        try:
            return {name: _state(folder, name) for name in names}
        except StackError as error:
            raise StackError(f"In {where}: {error}") from None


def _state(folder: Path, name: str) -> _Told:
    stack = load_stack(name, root=folder)
    foundations = Foundations(
        stage_name=stack.settings.stage_name,
        cidr=str(stack.settings.network.cidr),
        protected=stack.settings.table.deletion_protection,
    )
    return stack, State(limits=stack.limits, expected=stack.expectations, foundations=foundations)


@contextmanager
def _config(root: Path, revision: str | None) -> Iterator[Path]:
    """A folder with the Pulumi files of a revision."""
    if revision is None:
        yield root
        return
    _require(root, revision)
    with TemporaryDirectory() as folder:
        for name in _git(root, "ls-tree", "-z", "--name-only", revision, "./").split("\0"):
            if name.startswith("Pulumi.") and name.endswith(".yaml"):
                content = _git(root, "show", f"{revision}:./{name}")
                (Path(folder) / name).write_text(content, "utf-8")
        yield Path(folder)


def _require(root: Path, revision: str) -> None:
    """Make sure that git knows a revision."""
    _git(root, "rev-parse", "--git-dir")
    try:
        _git(root, "rev-parse", "--verify", "--end-of-options", f"{revision}^{{commit}}")
    except StackError:
        remote, _, branch = revision.partition("/")
        fetch = f"git fetch {remote} {branch}" if branch else "git fetch"
        raise StackError(
            f"There is no revision {revision} here. If a remote has it, `{fetch}` gets it."
        ) from None


def _git(root: Path, *words: str) -> str:
    git = shutil.which("git")
    if git is None:
        raise StackError("git is not installed, and what changed cannot be told without it.")
    done = subprocess.run(  # noqa: S603  git, and a revision that it has been asked to verify
        [git, "-C", str(root), *words], capture_output=True, check=False
    )
    if done.returncode:
        raise StackError(f"git: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout.decode("utf-8", "replace")
