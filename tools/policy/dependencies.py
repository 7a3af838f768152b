"""`python -m tools.policy.dependencies`: audits what is locked, without a network.

Each lock holds nothing but packages, pinned to one version and its hashes, and is what its `.in`
file asks for, no more and no less. What is installed here is what is locked, so that the tests
ran with what is deployed, under licences that permit it. Markers are taken for this Python and
platform where that matters. Whether a version has a known vulnerability no lock can tell: the
`audit` workflow asks the advisory database. Exit status: 0, 1 after a finding, 2 when a
file is missing or an `.in` file cannot be read.
"""

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT: Final = Path(__file__).parents[1]
INSTALLED: Final = "requirements-dev.txt"
"""What the make targets install, and so what everything is tested with."""
DEPLOYED: Final = "requirements.txt"
SUBSETS: Final = (DEPLOYED, "policy/requirements.txt")
"""What is installed elsewhere, and tested as a part of `INSTALLED`."""
TOOLS: Final = (".github/requirements.txt",)
"""What CI installs apart from everything else: there is nothing here to compare it with."""

LICENCES: Final = frozenset(
    {
        *("MIT", "ISC", "PSF-2.0", "Apache-2.0", "Apache 2.0", "Apache Software License"),
        *("BSD-2-Clause", "BSD-3-Clause", "3-Clause BSD License"),
    }
)
"""Those that ask for no more than a notice, as packages spell them."""

Lock = dict[NormalizedName, list[Requirement]]
"""What is locked of each package: several, if versions differ by platform or Python."""
Installed = Mapping[NormalizedName, Distribution]

_RELOCK: Final = "Fix: make lock"
_HASH: Final = re.compile(r"hash=sha256:[0-9a-f]{64}")
_EXTRA: Final = re.compile(r"""extra == ["']([^"']+)["']""")


def main() -> int:
    """Print each finding in a line of its own."""
    try:
        findings = audit(ROOT, sys.path)
    except (OSError, InvalidRequirement) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join([*findings, f"Locked dependencies: {len(findings)} problems."]))
    return 1 if findings else 0


def audit(root: Path, path: Sequence[str]) -> list[str]:
    """What is wrong with the locks below `root`, and with what `path` has installed of them.

    If any line is not what belongs into a lock, these lines alone.
    """
    # Reversed, because what comes first on the path is what is imported.
    installed = {canonicalize_name(d.name): d for d in reversed([*distributions(path=[*path])])}
    locks: dict[str, Lock] = {name: {} for name in (INSTALLED, *SUBSETS, *TOOLS)}
    findings = [
        f"{name}:{number}: {problem}. {_RELOCK}"
        for name, lock in locks.items()
        for number, line in _lines(root / name)
        if (problem := _add(line, lock))
    ]
    if findings:
        return findings
    for name, lock in locks.items():
        asked = list(_asked(root / name.replace(".txt", ".in")))
        findings += [f"{name}: {w}. {_RELOCK}" for w in _unsatisfied(asked, lock)]
        if name not in TOOLS:
            findings += [f"{name}: {w}. {_RELOCK}" for w in _graph(asked, lock, installed)]
    for name in SUBSETS:
        findings += [f"{name}: {w}. {_RELOCK}" for w in _others(locks[name], locks[INSTALLED])]
    fix = "Fix: remove .venv/ready, and any make target sets up anew"
    findings += [f"{INSTALLED}: {w}. {fix}" for w in _strange(locks[INSTALLED], installed)]
    fix = f"Fix: do without it, or permit the licence in {Path(__file__).name}"
    findings += [f"{DEPLOYED}: {w}. {fix}" for w in _licences(locks[DEPLOYED], installed)]
    return findings


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """The lines of a requirements file with their numbers: comments gone, continued ones joined."""
    begun, whole = 0, ""
    for number, line in enumerate(file.read_text("utf-8").splitlines(), start=1):
        begun = begun or number
        whole += re.sub(r"(^|\s)#.*", "", line).removesuffix("\\")
        if not line.endswith("\\"):
            if whole.strip():
                yield begun, " ".join(whole.split())
            begun, whole = 0, ""


def _add(line: str, lock: Lock) -> str | None:
    """Take a line into the lock, or say why it cannot be there."""
    text, *options = line.split(" --")
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{text!r} is no package by its name: a lock holds nothing else"
    if requirement.url:
        return f"{text!r} comes from an address of its own"
    lock.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    if not re.fullmatch(r"==[^*=]+", str(requirement.specifier)):
        return f"{text!r} is not pinned to one version with =="
    if not options or not all(map(_HASH.fullmatch, options)):
        return f"{text!r} is not followed by sha256 hashes alone"
    return None


def _asked(file: Path) -> Iterator[tuple[str, Requirement]]:
    """Who asks for what directly: an `.in` file and those that it includes."""
    for _, line in _lines(file):
        if line.startswith("-r "):
            yield from _asked(file.parent / line.removeprefix("-r "))
            continue
        try:
            yield file.name, Requirement(line)
        except InvalidRequirement:
            raise InvalidRequirement(f"{file}: {line!r} is no package by its name") from None


def _unsatisfied(asked: Collection[tuple[str, Requirement]], lock: Lock) -> Iterator[str]:
    for asker, requirement in asked:
        entries = lock.get(canonicalize_name(requirement.name), [])
        if not entries:
            yield f"{asker} asks for {requirement}, which is not locked"
        for entry in entries:
            if not requirement.specifier.contains(_version(entry), prereleases=True):
                yield f"{asker} asks for {requirement}, and {entry.name} is {_version(entry)}"


def _graph(
    asked: Collection[tuple[str, Requirement]], lock: Lock, installed: Installed
) -> Iterator[str]:
    """What the locked packages need and the lock lacks, and what it has and none of them needs."""
    todo = [requirement for _, requirement in asked]
    seen: set[tuple[NormalizedName, frozenset[str]]] = set()
    while todo:
        asker = todo.pop()
        name, extras = (
            canonicalize_name(asker.name),
            frozenset(map(canonicalize_name, asker.extras)),
        )
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in installed:
            continue
        needs = [Requirement(text) for text in installed[name].requires or []]
        # Whatever a marker says of platform and Python: another one may need it.
        todo += [need for need in needs if _extras_of(need) <= extras]
        here = [(name, need) for need in needs if _applies(need, extras)]
        yield from _unsatisfied(here, lock)
    reached = {name for name, _ in seen}
    for name, entries in lock.items():
        # What is for other platforms alone is not installed, nor is it known what that needs.
        if name not in reached and any(map(_applies, entries)):
            yield f"{entries[0].name} is locked, and nothing needs it"


def _others(lock: Lock, tested: Lock) -> Iterator[str]:
    for name, entries in lock.items():
        here, there = ({_version(e) for e in one} for one in (entries, tested.get(name, [])))
        if here != there:
            versions = " and ".join(sorted(there)) or "absent"
            yield f"{name} is {' and '.join(sorted(here))}, and {versions} in {INSTALLED}"


def _strange(lock: Lock, installed: Installed) -> Iterator[str]:
    for name, entries in lock.items():
        for entry in filter(_applies, entries):
            version = installed[name].version if name in installed else None
            if version is None or not entry.specifier.contains(version, prereleases=True):
                what = f"{version} is" if version else "none is"
                yield f"{name} is locked as {_version(entry)}, and {what} installed"


def _licences(lock: Lock, installed: Installed) -> Iterator[str]:
    for name in sorted(set(lock) & set(installed)):
        licence = _licence(installed[name])
        if not licence or not set(re.split(r" (?:AND|OR) ", licence)) <= LICENCES:
            yield f"{name} has the licence {licence[:60] or 'unknown'!r}, which is not permitted"


def _licence(distribution: Distribution) -> str:
    about = distribution.metadata
    told = [about[field] for field in ("License-Expression", "License") if field in about]
    return "".join(told[:1]).partition("\n")[0].strip()


def _version(entry: Requirement) -> str:
    return str(entry.specifier).removeprefix("==")


def _extras_of(need: Requirement) -> set[str]:
    return set(map(canonicalize_name, _EXTRA.findall(str(need.marker or ""))))


def _applies(requirement: Requirement, extras: Collection[str] = ()) -> bool:
    """Whether this Python on this platform needs it, for any of `extras`."""
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))


if __name__ == "__main__":
    sys.exit(main())
