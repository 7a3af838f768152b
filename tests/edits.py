"""Edits of files, as a user makes them."""

from pathlib import Path


def edit(file: Path, old: str, new: str) -> None:
    """Replace the first `old` in a file, which must be there."""
    content = file.read_text("utf-8")
    assert old in content, f"{old!r} is not in {file.name}"
    file.write_text(content.replace(old, new, 1), "utf-8")
