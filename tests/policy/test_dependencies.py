"""`python -m tools.policy.dependencies`: each thing that can be wrong with a lock is found and named."""

import re
import sys
from pathlib import Path

import pytest

from policy import dependencies
from tools.policy.dependencies import audit

ROOT = Path(__file__).parents[2]
HASH = " --hash=sha256:" + "0" * 64
RELOCK = ". Fix: make lock"

# check needs more for its extra, and, on a Python that nobody has, only, which needs sub.
FILES = {
    "requirements.in": "app>=1,<2  # what is deployed\n",
    "requirements.txt": f"# made by hand\napp==1.2 \\\n   {HASH}\nbase==2.0{HASH}{HASH}\n",
    "requirements-dev.in": "-r requirements.in\n\ncheck[more]\n",
    "requirements-dev.txt": f"app==1.2{HASH}\nbase==2.0{HASH}\ncheck==3.0{HASH}\nmore==1{HASH}\n"
    f"only==4.0 ; python_version < '3'{HASH}\nsub==1 ; python_version < '3'{HASH}\n",
    "policy/requirements.in": "Base>=2\n",
    "policy/requirements.txt": f"base==2.0{HASH}\n",
    ".github/requirements.in": "tool\n",
    ".github/requirements.txt": f"tool==5.0{HASH}\nwrench==6.0{HASH}\n",
    "site/app-1.2.dist-info/METADATA": "Name: app\nVersion: 1.2\nLicense-Expression: MIT OR ISC\n"
    "Requires-Dist: base>=2\nRequires-Dist: absent; extra == 'other'\n",
    "site/base-2.0.dist-info/METADATA": "Name: Base\nVersion: 2.0.0\nLicense: BSD-3-Clause\n",
    "site/check-3.0.dist-info/METADATA": "Name: check\nVersion: 3.0\nLicense: GPL-3.0-only\n"
    "Requires-Dist: only; python_version < '3'\nRequires-Dist: more; extra == 'More'\n",
    "site/more-1.dist-info/METADATA": "Name: more\nVersion: 1\nRequires-Dist: app\n",
}


def test_every_lock_is_audited_and_made_by_make_lock() -> None:
    folders = (ROOT, ROOT / "policy", ROOT / ".github")
    asked = {str(f.relative_to(ROOT).with_suffix("")) for one in folders for f in one.glob("*.in")}
    (made,) = re.findall(r"for name in (.*?);", (ROOT / "Makefile").read_text())

    assert set(made.split()) == asked
    audited = (dependencies.INSTALLED, *dependencies.SUBSETS, *dependencies.TOOLS)
    assert {f"{name}.txt" for name in asked} == set(audited)


def test_the_projects_own_locks_have_no_finding() -> None:
    # Whether .venv is the lock's is for `make check` to say: tests run in any that they run in.
    assert [line for line in audit(ROOT, sys.path) if " installed. Fix" not in line] == []


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose locks are as they should be."""
    for name, content in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return tmp_path


def findings_after(project: Path, file: str, old: str, new: str) -> list[str]:
    content = (project / file).read_text()
    assert old in content
    (project / file).write_text(content.replace(old, new))
    return audit(project, [str(project / "site")])


def test_locks_that_are_as_they_should_be_have_no_finding(project: Path) -> None:
    assert audit(project, [str(project / "site")]) == []


@pytest.mark.parametrize(
    ("line", "finding"),
    [
        ("-i ./index", "'-i ./index' is no package"),
        ("--find-links ./wheels", "'--find-links ./wheels' is no package"),
        ("-e .", "'-e .' is no package"),
        ("./local", "'./local' is no package"),
        (f"https://example.com/a.zip{HASH}", "'https://example.com/a.zip' is no package"),
        ("git+https://example.com/a.git", "'git+https://example.com/a.git' is no package"),
    ],
)
def test_a_lock_holds_nothing_but_packages(project: Path, line: str, finding: str) -> None:
    assert findings_after(project, ".github/requirements.txt", "tool==", f"{line}\ntool==") == [
        f".github/requirements.txt:1: {finding} by its name: a lock holds nothing else{RELOCK}"
    ]


@pytest.mark.parametrize(
    ("locked", "finding"),
    [
        (f"tool @ https://example.com/a.zip{HASH}", "comes from an address of its own"),
        (f"tool>=5.0{HASH}", "is not pinned to one version with =="),
        (f"tool==5.*{HASH}", "is not pinned to one version with =="),
        (f"tool==5.0,!=5.1{HASH}", "is not pinned to one version with =="),
        (f"tool===5.0{HASH}", "is not pinned to one version with =="),
        ("tool==5.0", "is not followed by sha256 hashes alone"),
        ("tool==5.0 --hash=md5:" + "0" * 32, "is not followed by sha256 hashes alone"),
        (f"tool==5.0{HASH}0", "is not followed by sha256 hashes alone"),
        (f"tool==5.0{HASH} --no-binary=tool", "is not followed by sha256 hashes alone"),
    ],
)
def test_a_package_is_pinned_to_its_version_and_hashes(
    project: Path, locked: str, finding: str
) -> None:
    text = locked.partition(" --")[0]
    assert findings_after(project, ".github/requirements.txt", f"tool==5.0{HASH}", locked) == [
        f".github/requirements.txt:1: '{text}' {finding}{RELOCK}"
    ]


def test_a_finding_names_the_line_at_which_a_package_begins(project: Path) -> None:
    assert findings_after(project, "requirements.txt", "app==1.2", "app") == [
        f"requirements.txt:2: 'app' is not pinned to one version with =={RELOCK}"
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "findings"),
    [
        (
            "policy/requirements.in",
            "Base>=2",
            "Base>=3",
            ["policy/requirements.txt: requirements.in asks for Base>=3, and base is 2.0" + RELOCK],
        ),
        (
            ".github/requirements.in",
            "tool",
            "tool\nsaw",
            [
                ".github/requirements.txt: requirements.in asks for saw, which is not locked"
                + RELOCK
            ],
        ),
        (
            # What another file includes is asked for there, too.
            "requirements.in",
            "app>=1,<2",
            "app>=1,<2\nsaw",
            [
                f"requirements{which}.txt: requirements.in asks for saw, which is not locked"
                + RELOCK
                for which in ("-dev", "")
            ],
        ),
        (
            "site/app-1.2.dist-info/METADATA",
            "base>=2",
            "base>=2.1",
            [
                f"requirements{which}.txt: app asks for base>=2.1, and base is 2.0{RELOCK}"
                for which in ("-dev", "")
            ],
        ),
        (
            "site/check-3.0.dist-info/METADATA",
            "more; extra",
            "most; extra",
            [
                'requirements-dev.txt: check asks for most; extra == "more", which is not locked'
                + RELOCK,
                f"requirements-dev.txt: more is locked, and nothing needs it{RELOCK}",
            ],
        ),
        (
            "requirements-dev.in",
            "check[more]",
            "check",
            [f"requirements-dev.txt: more is locked, and nothing needs it{RELOCK}"],
        ),
    ],
)
def test_a_lock_has_what_is_needed_and_nothing_else(
    project: Path, file: str, old: str, new: str, findings: list[str]
) -> None:
    assert findings_after(project, file, old, new) == findings


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("base==2.0", "base==2.1", "base is 2.1, and 2.0 in requirements-dev.txt"),
        (
            "base==2.0",
            f"base==2.1 ; python_version < '3'{HASH}\nbase==2.0",
            "base is 2.0 and 2.1, and 2.0 in requirements-dev.txt",
        ),
        ("base==2.0", f"saw==1{HASH}\nbase==2.0", "saw is 1, and absent in requirements-dev.txt"),
    ],
)
def test_what_is_deployed_is_what_was_tested(project: Path, old: str, new: str, told: str) -> None:
    assert f"requirements.txt: {told}{RELOCK}" in findings_after(
        project, "requirements.txt", old, new
    )


def test_what_is_installed_is_what_is_locked(project: Path) -> None:
    fix = "Fix: remove .venv/ready, and any make target sets up anew"
    metadata = "site/base-2.0.dist-info/METADATA"
    assert findings_after(project, metadata, "2.0.0", "2.0.1") == [
        f"requirements-dev.txt: base is locked as 2.0, and 2.0.1 is installed. {fix}"
    ]
    (project / metadata).unlink()
    (project / metadata).parent.rmdir()
    assert audit(project, [str(project / "site")]) == [
        f"requirements-dev.txt: base is locked as 2.0, and none is installed. {fix}"
    ]


def test_what_counts_is_what_would_be_imported(project: Path) -> None:
    behind = project / "behind" / "base-9.dist-info"
    behind.mkdir(parents=True)
    (behind / "METADATA").write_text("Name: base\nVersion: 9\nLicense: none\n")
    assert audit(project, [str(project / "site"), str(project / "behind")]) == []


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("GPL-3.0-only", "'GPL-3.0-only'"),
        ("MIT AND SSPL-1.0", "'MIT AND SSPL-1.0'"),
        ("", "'unknown'"),
    ],
)
def test_what_is_deployed_has_a_licence_that_asks_for_no_more_than_a_notice(
    project: Path, new: str, told: str
) -> None:
    assert findings_after(project, "site/base-2.0.dist-info/METADATA", "BSD-3-Clause", new) == [
        f"requirements.txt: base has the licence {told}, which is not permitted. "
        "Fix: do without it, or permit the licence in dependencies.py"
    ]


def test_findings_are_printed_one_a_line_with_exit_status_1(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dependencies, "ROOT", project)
    monkeypatch.setattr(sys, "path", [str(project / "site")])
    assert dependencies.main() == 0
    assert capsys.readouterr().out == "Locked dependencies: 0 problems.\n"

    (project / "policy" / "requirements.txt").write_text("base==2.0\n")
    assert dependencies.main() == 1
    assert capsys.readouterr().out.splitlines() == [
        f"policy/requirements.txt:1: 'base==2.0' is not followed by sha256 hashes alone{RELOCK}",
        "Locked dependencies: 1 problems.",
    ]


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), ("-x y", "'-x y' is no package")]
)
def test_a_file_that_cannot_be_read_is_one_line(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    told: str,
) -> None:
    monkeypatch.setattr(dependencies, "ROOT", project)
    file = project / ".github" / "requirements.in"
    file.write_text(content) if content else file.unlink()

    assert dependencies.main() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert ".github/requirements.in" in line
    assert told in line
